"""Averaging in place of a schedule."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.hyperparams import NON_NEGATIVE, Interval, ScalarOrSchedule
from gradtx.core.state import states_in, update_inner, without_count
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    transformation,
)
from gradtx.core.tree import PyTree, as_dtype, cast_like, check_slot, compute_dtype, is_none
from gradtx.kinds import Dtype, checked

MIX = Interval(0, 1, open_low=True, role="momentum")


@checked
def schedule_free(
    base_optimizer: optax.GradientTransformation,
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: Dtype | None = None,
    *,
    scales: bool = False,
) -> GradientTransformationExtraArgs:
    """Step a second copy of the parameters, average it, and train at a point between the two.

        z' = z + base        x' = (1 - c) x + c z'        y' = b1 x' + (1 - b1) z'        u = y' - y
        c  = w / (sum of all w so far)        w = (largest learning rate so far)^weight_lr_power

    The parameters are y; evaluate at x, which `schedule_free_eval_params` gives. `base` is the
    update of `base_optimizer`, which should have no momentum and end with the same learning rate;
    with `scales` it is a direction that is multiplied by -learning_rate here, so that one number
    rules both. `z` starts as a copy of the parameters.

    Optax's weight uses the learning rate of the next step, here it is that of this one, as in the
    paper; under a constant rate they agree.

    Args:
        base_optimizer: what makes the step of `z`; without momentum.
        learning_rate: learning rate, in [0, inf), which weighs the steps in the average; a number,
            a schedule or a JAX scalar, like all that have an interval.
        b1: weight of the average `x` in the point `y` at which gradients are taken, in (0, 1).
        weight_lr_power: power of the learning rate in a step's weight, in [0, inf).
        state_dtype: dtype of `z`; by default that of the parameter, at least float32.
        scales: whether `base` is multiplied by -learning_rate here.

    Raises:
        TypeError: if `base_optimizer` is no gradient transformation.
        ValueError: if `b1` is a number outside (0, 1) or another one negative; on `update`, without
            `params`.

    Source: Defazio et al. (2024), algorithm 1.
    """
    inner = as_transformation("schedule_free", "`base_optimizer`", base_optimizer)

    def init(params: PyTree) -> dict[str, Any]:
        z = jax.tree.map(lambda p: jnp.array(p, state_dtype or compute_dtype(p)), params)
        # Arrays of their own, so that all can be donated. b1 is the one that the last update used,
        # which is what relates y to x and z.
        scalar = lambda value: jnp.full((), value, jnp.result_type(float))
        totals = {"weight_sum": scalar(0), "max_learning_rate": scalar(0), "b1": scalar(1)}
        return totals | {"z": z, "base": without_count(inner.init(params))}

    def update(updates: PyTree, slots: dict, params: PyTree, h: Any, **extra: Any):
        base, state = update_inner(inner, updates, slots["base"], params, h.count, **extra)
        largest = jnp.maximum(slots["max_learning_rate"], h.learning_rate)
        weight = largest**h.weight_lr_power
        total = slots["weight_sum"] + weight
        c = jnp.where(total > 0, weight / jnp.where(total > 0, total, 1), 0)
        factor = -h.learning_rate if scales else jnp.ones_like(h.learning_rate)
        z = jax.tree.map(partial(_step, factor), slots["z"], base, is_leaf=is_none)
        move = partial(_move, slots["b1"], h.b1, c)
        out = cast_like(
            jax.tree.map(move, params, slots["z"], z, updates, is_leaf=is_none), updates
        )
        totals = {"weight_sum": total, "max_learning_rate": largest, "b1": h.b1}
        return out, totals | {"z": z, "base": state}

    return transformation(
        "schedule_free",
        init,
        update,
        needs_params=True,
        parts=(inner,),
        check=lambda updates, slots: check_slot("schedule_free.update", updates, "z", slots["z"]),
        learning_rate=(learning_rate, NON_NEGATIVE),
        b1=(b1, MIX),
        weight_lr_power=(weight_lr_power, NON_NEGATIVE),
    )


def _step(factor: jax.Array, z: Any, u: Any) -> Any:
    """z' = z + factor u, of one leaf."""
    if z is None or u is None:
        return z
    dtype = compute_dtype(z, u)
    return (z.astype(dtype) + factor.astype(dtype) * u.astype(dtype)).astype(z.dtype)


def _move(old: jax.Array, b1: jax.Array, c: jax.Array, y: Any, z: Any, new: Any, g: Any) -> Any:
    """u = y' - y, of one leaf; `old` is the b1 that relates y to the average."""
    if z is None or g is None:
        return g
    dtype = compute_dtype(y, z)
    y, z, new = (as_dtype(a, dtype) for a in (y, z, new))
    b, mix, average = (s.astype(dtype) for s in (old, b1, c))
    # Differences throughout: where nothing moves, the update is exactly zero.
    x = average_of(y, z, b)
    x = x + average * (new - x)
    return new + mix * (x - new) - y


def average_of(y: jax.Array, z: jax.Array, b1: jax.Array) -> jax.Array:
    """The average x that y = b1 x + (1 - b1) z came from.

        x = z + (y - z) / b1

    Args:
        y: the point at which gradients are taken.
        z: the copy of the parameters that takes the steps.
        b1: weight of the average, in (0, 1).
    """
    return z + (y - z) / b1


def schedule_free_eval_params(state: Any, params: PyTree) -> PyTree:
    """The averaged parameters, at which a `schedule_free` model is evaluated.

        x = (y - (1 - b1) z) / b1        y = params

    Args:
        state: any pytree that holds the state of one `schedule_free`, of a chain for example.
        params: the parameters at which gradients are taken; the result has their dtypes.

    Raises:
        ValueError: unless there is exactly one such state.

    Source: Defazio et al. (2024), algorithm 1.
    """
    found = [node for _, node in states_in(state) if node.name == "schedule_free"]
    if len(found) != 1:
        raise ValueError(
            "schedule_free_eval_params: `state` must hold the state of one schedule_free; got"
            f" {len(found)}. Pass the state of the optimizer that trains `params`."
        )
    slots = found[0].slots

    def average(y: Any, z: Any) -> Any:
        if y is None or z is None:
            return y
        dtype = compute_dtype(y, z)
        x = average_of(jnp.asarray(y, dtype), z.astype(dtype), slots["b1"].astype(dtype))
        return x.astype(jnp.result_type(y))

    return jax.tree.map(average, params, slots["z"], is_leaf=is_none)
