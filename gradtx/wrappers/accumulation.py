"""One update from the gradients of several mini-batches."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.hyperparams import Interval, ScalarOrSchedule, check_hyperparam, source_of
from gradtx.core.leafwise import zeros
from gradtx.core.settled import settled_init
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    transformation,
)
from gradtx.core.tree import (
    PyTree,
    all_finite,
    as_dtype,
    cast_like,
    cast_state,
    check_slot,
    compute_dtype,
    dtype_of,
    is_inexact,
    is_none,
)
from gradtx.kinds import checked

AT_LEAST_ONE = Interval(1)


@checked
def accumulate(
    inner: optax.GradientTransformation, steps: ScalarOrSchedule
) -> GradientTransformationExtraArgs:
    """Run `inner` on the mean gradient of every `steps` mini-batches.

        total' = total + g        n' = n + 1        where g is finite; else as they were
        u      = inner(total' / n')  on every `steps`-th mini-batch, then total' = n' = 0
        u      = 0                   otherwise

    A mini-batch with a NaN or an infinity counts as one of the `steps`, but the mean is that of the
    others; if there is no other, `inner` does not run. It runs under `lax.cond`, only when an
    update is due, and keeps its own counter, so its schedules follow updates. A schedule in `steps`
    is a function of the updates made, too. `steps=1` is `inner` itself.

    `total` is like `params`, in at least float32. With Optax's parts in `inner`, their states keep
    the dtypes they started with.

    >>> import gradtx
    >>> tx = accumulate(gradtx.sgd(1.0), 2)
    >>> state = tx.init(jnp.zeros(1))
    >>> for g in (1.0, 3.0):
    ...     u, state = tx.update(jnp.array([g]), state)
    ...     print(float(u[0]))
    0.0
    -2.0

    Args:
        inner: the transformation that gets the mean gradients.
        steps: number of mini-batches for one update, a whole number of at least 1; a number, a
            schedule or a JAX scalar.

    Raises:
        TypeError: if `inner` is no gradient transformation.
        ValueError: if `steps` is a number below 1 or not whole.
    """
    inner = as_transformation("accumulate", "`inner`", inner)
    if _whole(steps) == 1:
        return inner

    def init(params: PyTree) -> dict[str, Any]:
        return {
            "total": jax.tree.map(zeros(), params),
            "finite": jnp.zeros((), jnp.int32),
            "mini_step": jnp.zeros((), jnp.int32),
            "updates": jnp.zeros((), jnp.int32),
            "inner": settled_init(inner, params),
        }

    def update(g: PyTree, slots: dict[str, Any], params: PyTree, h: Any, **extra: Any):
        ok = all_finite(g)
        n = slots["finite"] + ok.astype(jnp.int32)
        mini_step = slots["mini_step"] + 1
        total = _add(slots["total"], g, ok)
        done = mini_step.astype(h.steps.dtype) >= h.steps

        # In the dtypes of `g`, but where these are integers, whose mean is none.
        zero = jax.tree.map(lambda x: jnp.zeros_like(x, _floating(x)), g)

        def apply(total: PyTree, state: Any) -> tuple[PyTree, Any]:
            mean = lambda x, t: None if x is None else (t / n.astype(t.dtype)).astype(x.dtype)
            means = jax.tree.map(mean, zero, total, is_leaf=is_none)
            u, new = inner.update(means, state, params, **extra)
            return cast_like(u, zero), cast_state("accumulate", new, state)

        wait = lambda total, state: (zero, state)
        due = done & (n > 0)
        u, state = jax.lax.cond(due, apply, wait, total, slots["inner"])
        restart = lambda x: jnp.where(done, jnp.zeros_like(x), x)
        return u, {
            "total": jax.tree.map(restart, total),
            "finite": restart(n),
            "mini_step": restart(mini_step),
            "updates": slots["updates"] + due.astype(jnp.int32),
            "inner": state,
        }

    return transformation(
        "accumulate",
        init,
        update,
        parts=(inner,),
        check=lambda g, slots: check_slot("accumulate.update", g, "total", slots["total"]),
        clock=lambda slots: slots["updates"],
        steps=(steps, AT_LEAST_ONE),
    )


def _whole(steps: ScalarOrSchedule) -> int | None:
    """The number of mini-batches, if it is a Python number; it must be whole."""
    if source_of(steps) != "number":
        return None
    check_hyperparam("accumulate", "steps", steps, AT_LEAST_ONE)
    number: Any = steps
    if number != int(number):
        raise ValueError(
            f"accumulate: `steps` must be a whole number of mini-batches; got {number!r}. Round it."
        )
    return int(number)


def _floating(x: Any) -> Any:
    """The dtype of what an update of `x` is."""
    return dtype_of(x) if is_inexact(dtype_of(x)) else compute_dtype(x)


def _add(total: PyTree, g: PyTree, ok: jax.Array) -> PyTree:
    """`total + g` if `ok`; what has no gradient adds nothing. Not `ok * g`: 0 NaN is NaN."""
    add = lambda x, t: t if x is None else jnp.where(ok, t + as_dtype(x, t.dtype), t)
    return jax.tree.map(add, g, total, is_leaf=is_none)
