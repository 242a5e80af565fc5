"""An average of the parameters over training, for evaluation."""

from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import CLOSED_UNIT, ScalarOrSchedule
from gradtx.core.leafwise import leafwise
from gradtx.core.state import is_state
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import PyTree, bias_correction, compute_dtype, is_none
from gradtx.kinds import Dtype, checked


@checked
def ema_params(
    decay: ScalarOrSchedule = 0.999, *, debias: bool = False, dtype: Dtype | None = None
) -> GradientTransformationExtraArgs:
    """Keep an exponential average of the parameters; the updates pass through.

        average' = decay average + (1 - decay) (p + g)        u = g

    Stands last in a chain, where the update is what will be added to the parameters. The average
    starts as a copy of the parameters, or with `debias` at 0 and is divided by
    1 - decay^step when read. It is like `params`; read it with `averaged_params(state, params)`.

    Args:
        decay: decay of the average, in [0, 1]; a number, a schedule or a JAX scalar.
        debias: whether the average starts at 0 and is corrected for it when read.
        dtype: dtype of the average; by default that of the parameter, at least float32.

    Raises:
        ValueError: if `decay` is a number outside [0, 1]; on `update`, without `params`.

    Source: Polyak and Juditsky (1992) for averaging; the exponential form is common usage.
    """

    def start(p: Any) -> Any:
        to = dtype or compute_dtype(p)
        return jnp.zeros_like(p, to) if debias else jnp.array(p, to)

    def update(h: Any):
        def rule(g, p, average):
            return g, {"average": average + (1 - h.decay) * (p + g - average)}

        return rule

    return leafwise(
        "ema_params_debiased" if debias else "ema_params",
        update,
        slots={"average": start},
        needs_params=True,
        decay=(decay, CLOSED_UNIT),
    )


def averaged_params(state: Any, params: PyTree) -> PyTree:
    """The average that `ema_params` keeps, in the dtypes of `params`.

            average  or, with debias,  average / (1 - decay^count)

    Before the first update it is `params`. The correction uses the decay of the last update.

    Args:
        state: any pytree that holds the state of one `ema_params`, of a chain for example.
        params: the parameters, whose structure and dtypes the result has.

    Raises:
        ValueError: unless there is exactly one such state.

    Source: Kingma and Ba (2015), section 3, for the correction.
    """
    found = list(_states(state, None))
    if len(found) != 1:
        raise ValueError(
            f"averaged_params: `state` must hold the state of one ema_params; got {len(found)}."
            " Pass the state of the optimizer that trains `params`."
        )
    mine, count = found[0]
    weight = jnp.ones(())
    if mine.name == "ema_params_debiased":
        decay = mine.own_hyperparams["decay"]
        weight = bias_correction(decay, count.astype(decay.dtype))

    def read(p: Any, average: Any) -> Any:
        if p is None or average is None:
            return p
        average = average.astype(compute_dtype(average))
        mean = average / jnp.where(weight > 0, weight, 1).astype(average.dtype)
        return jnp.where(weight > 0, mean.astype(jnp.result_type(p)), p)

    return jax.tree.map(read, params, mine.slots["average"], is_leaf=is_none)


def _states(tree: Any, count: jax.Array | None) -> Any:
    """Each state of an `ema_params` in `tree`, with the counter that it follows."""
    for node in jax.tree.leaves(tree, is_leaf=is_state):
        if is_state(node):
            ours = count if node.count is None else node.count
            mine = node.name.startswith("ema_params")
            yield from [(node, ours)] if mine else _states(node.slots, ours)
