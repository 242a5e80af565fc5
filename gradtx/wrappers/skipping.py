"""Pass over gradients that are not finite."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.settled import settled_init
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    transformation,
)
from gradtx.core.tree import PyTree, all_finite, cast_like, cast_state, select
from gradtx.kinds import Natural, checked


@checked
def skip_if_not_finite(
    inner: optax.GradientTransformation, *, max_consecutive: Natural | None = None
) -> GradientTransformationExtraArgs:
    """Leave out the updates whose gradients hold a NaN or an infinity.

        u, s' = inner(g, s)   if all of g is finite, or for too long none was
        u, s' = 0, s          else

    On a skipped step the state of `inner` stays as it is, bit for bit: its counter, and with it
    its schedules, stand still. `slots` count the gradients that were not finite: "consecutive"
    those in a row until now, "total" all of them.

    Without `max_consecutive` there is no end to skipping: look at the counts. With it, at most so
    many steps in a row are skipped; then the update is made with what comes, so that the
    parameters show what is wrong, as in Optax's `apply_if_finite`. Nothing can raise inside `jit`.

    >>> import gradtx
    >>> tx = skip_if_not_finite(gradtx.sgd(1.0))
    >>> u, state = tx.update(jnp.array([1.0, jnp.nan]), tx.init(jnp.zeros(2)))
    >>> u.tolist(), int(state.slots["total"])
    ([0.0, 0.0], 1)

    Args:
        inner: the transformation that gets the finite gradients.
        max_consecutive: most gradients in a row to skip, 0 or more; `None` means no bound.

    Raises:
        TypeError: if `inner` is no gradient transformation.
        ValueError: if `max_consecutive` is negative.
    """
    inner = as_transformation("skip_if_not_finite", "`inner`", inner)

    def init(params: PyTree) -> dict[str, Any]:
        count = lambda: jnp.zeros((), jnp.int32)
        return {"consecutive": count(), "total": count(), "inner": settled_init(inner, params)}

    def update(g: PyTree, slots: dict[str, Any], params: PyTree, h: Any, **extra: Any):
        del h
        ok = all_finite(g)
        consecutive = jnp.where(ok, 0, optax.safe_increment(slots["consecutive"]))
        total = jnp.where(ok, slots["total"], optax.safe_increment(slots["total"]))
        go = ok if max_consecutive is None else ok | (consecutive > max_consecutive)
        u, state = inner.update(g, slots["inner"], params, **extra)
        u = cast_like(u, g)
        state = select(go, cast_state("skip_if_not_finite", state, slots["inner"]), slots["inner"])
        u = select(go, u, jax.tree.map(jnp.zeros_like, u))
        return u, {"consecutive": consecutive, "total": total, "inner": state}

    return transformation("skip_if_not_finite", init, update, parts=(inner,))


@checked
def apply_if_finite(
    inner: optax.GradientTransformation, max_consecutive_errors: Natural
) -> GradientTransformationExtraArgs:
    """`skip_if_not_finite`, by the name that it has in Optax.

        u, s' = inner(g, s)  if all of g is finite, or for too long none was, else  0, s

    Args:
        inner: the transformation that gets the finite gradients.
        max_consecutive_errors: most gradients in a row to skip, 0 or more.

    Raises:
        TypeError: if `inner` is no gradient transformation.
        ValueError: if `max_consecutive_errors` is negative.
    """
    return skip_if_not_finite(inner, max_consecutive=max_consecutive_errors)
