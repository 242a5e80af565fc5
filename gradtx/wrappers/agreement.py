"""Only what agrees with the gradient."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.hyperparams import NON_NEGATIVE, OneValue
from gradtx.core.state import structure_of, update_inner, without_count
from gradtx.core.transformation import (
    GradientTransformationExtraArgs,
    as_transformation,
    transformation,
)
from gradtx.core.tree import PyTree, as_dtype, cast_like, compute_dtype, is_none, real_of
from gradtx.kinds import checked

# What keeps the direction of the gradient: a chain of these alone takes no step down.
ASCENDING = {
    *("add_decayed_weights", "add_l2", "adaptive_grad_clip", "centralize", "clip"),
    *("clip_by_block_norm", "clip_by_block_rms", "clip_by_global_norm", "ema", "identity"),
    *("scale_by_adadelta", "scale_by_adam", "scale_by_adamax", "scale_by_ademamix"),
    *("scale_by_adopt", "scale_by_amsgrad", "scale_by_belief", "scale_by_lion"),
    *("scale_by_momentum", "scale_by_muon", "scale_by_qhadam", "scale_by_radam", "scale_by_rms"),
    *("scale_by_rss", "scale_by_shape", "scale_by_sign", "scale_by_soap"),
    *("scale_by_larc", "scale_by_trust_ratio"),
}


@checked
def cautious(
    inner: optax.GradientTransformation, xi: OneValue = 1.0, *, descent: bool = True
) -> GradientTransformationExtraArgs:
    """Leave out what an optimizer would move against the gradient of this step.

        u' = u [u g < 0] d / (n + xi)        u = inner(g),  n = how many of the leaf's d numbers
                                             have u g < 0

    What is left of a leaf is enlarged by d / (n + xi), so that the step keeps its size; with an
    `xi` of 0 it is divided by the share that is left, as in the authors' later code. A number whose
    gradient is 0 stays where it is, and a NaN or an infinity of `inner` comes out as NaN.

    Updates of an optimizer are added to the parameters and point down the gradient. Around parts
    that stand before the learning rate, whose updates point up, say `descent=False`: then
    [u g > 0]. So weight decay after them acts everywhere, as in the paper's algorithm for AdamW:

        chain(cautious(scale_by_adam(), descent=False), add_decayed_weights(0.1),
              scale_by_learning_rate(1e-3))

    It remembers nothing: 0 bytes a parameter beside the state of `inner`.

    >>> import gradtx
    >>> tx = cautious(gradtx.sgd(1.0, momentum=0.9), 0.0)
    >>> _, state = tx.update(jnp.array([1.0, 1.0]), tx.init(jnp.zeros(2)))
    >>> u, _ = tx.update(jnp.array([1.0, -0.5]), state)  # momentum still moves the second down
    >>> [round(float(x), 4) for x in u + 0.0]
    [-3.8, 0.0]

    Args:
        inner: the transformation whose updates are sifted.
        xi: added to the number that is left of a leaf, in [0, inf); a number, a schedule or a JAX
            scalar.
        descent: whether updates of `inner` point down the gradient, as an optimizer's do.

    Raises:
        TypeError: if `inner` is no gradient transformation.
        ValueError: if `xi` is a negative number, or `inner` has no learning rate and `descent` is
            left out.

    Source: Liang et al. (2024), "Cautious optimizers: improving training with one line of code",
    algorithms 1 and 2.
    """
    inner = as_transformation("cautious", "`inner`", inner)
    names = set(_names(inner))
    if descent and names and names <= ASCENDING:
        raise ValueError(
            f"cautious: `inner` must step down the gradient, as an optimizer with a learning rate"
            f" does; got {', '.join(sorted(names))}. Pass descent=False for parts that stand before"
            " the learning rate."
        )

    def update(updates: PyTree, slots: dict[str, Any], params: PyTree, h: Any, **extra: Any):
        u, state = update_inner(inner, updates, slots["inner"], params, h.count, **extra)
        sift = lambda g, x: x if g is None else _sifted(g, x, h.xi, descent)
        out = jax.tree.map(sift, updates, u, is_leaf=is_none)
        return cast_like(out, updates), {"inner": state}

    return transformation(
        "cautious",
        lambda params: {"inner": without_count(inner.init(params))},
        update,
        parts=(inner,),
        per_leaf=True,
        xi=(xi, NON_NEGATIVE),
    )


def _names(tx: Any) -> Iterator[str]:
    """The names of the innermost parts, "" for one that is not gradtx's."""
    structure = structure_of(tx)
    parts = [] if structure is None else [*structure.parts, structure.after]
    inside = [part for part in parts if part is not None]
    if not inside:
        yield "" if structure is None else structure.name
    for part in inside:
        yield from _names(part)


def _sifted(g: jax.Array, u: jax.Array, xi: jax.Array, descent: bool) -> jax.Array:
    dtype = compute_dtype(g, u)
    g, u = as_dtype(g, dtype), as_dtype(u, dtype)
    if not descent:
        g = -g
    if jnp.isrealobj(u):  # not a product, which is 0 for two small numbers
        agrees = ((g > 0) & (u < 0)) | ((g < 0) & (u > 0))
    else:
        agrees = (g.conj() * u).real < 0
    real = real_of(dtype)
    left = jnp.sum(agrees, dtype=real) + xi.astype(real)
    factor = u.size / jnp.where(left == 0, 1, left)
    # Not a select of 0, which would hide a NaN of `u`.
    return u * jnp.where(agrees, factor, 0).astype(dtype)
