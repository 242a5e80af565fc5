"""Transformations of Optax, what they claim, and the laws that they are known to break."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import contrib


@dataclass(frozen=True)
class OptaxRow:
    """One transformation, its claims and options, and the laws that it breaks.

    A representative of a mechanism is tried on all laws without --thorough too.
    """

    name: str
    factory: Callable[..., Any]
    claims: Mapping[str, Any] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    represents: str = ""


def row(
    name: str, factory: Callable[..., Any], *known: str, represents: str = "", **claims: Any
) -> OptaxRow:
    return OptaxRow(name, factory, claims, known, represents)


# Laws that many break: see gradtx/testing/KNOWN.md.
DRIFT, HALF = "state_is_fixed_point_mixed", "finite_low_precision"

LR = {"hyperparams": {"learning_rate": 0.1}, "scheduled": ("learning_rate",)}
RATE = LR | {"proportional_to": "learning_rate"}
LINEAR = {
    "linear": True,
    "scale_equivariant": True,
    "translation_equivariant": True,
    "zero_is_fixed_point": True,
    "leafwise": True,
}
ADAPTIVE = {
    "scale_invariant": True,
    "translation_equivariant": True,
    "zero_is_fixed_point": True,
    "leafwise": True,
}
MATRIX = {"templates": [{"w": jnp.zeros((4, 6)), "b": jnp.zeros(3)}]}


def by_name(tree: Any) -> Any:
    """A mask that holds for the first leaf only."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten([i == 0 for i in range(len(leaves))])


def written(text: str) -> Callable[..., Any]:
    """A factory from its code, which stays with it as `code`: that of a call if it takes nothing.

    The code has jax, jnp, optax and `by_name` at hand.
    """
    names = {"jax": jax, "jnp": jnp, "optax": optax, "by_name": by_name}

    def factory() -> Any:
        return eval(text, names)

    factory.code = text
    return factory


ROWS = [
    row("identity", optax.identity, **LINEAR),
    row("scale", partial(optax.scale, 2.0), **LINEAR),
    row("trace", partial(optax.trace, 0.9, nesterov=True), DRIFT, **LINEAR),
    row(
        "ema",
        partial(optax.ema, 0.9),
        DRIFT,
        bias_corrected=True,
        **LINEAR,
        represents="a leafwise rule",
    ),
    row("sgd", partial(optax.sgd, momentum=0.9), DRIFT, **LINEAR, **RATE),
    row("signum", optax.signum, DRIFT, **ADAPTIVE, **RATE),
    row("adam", optax.adam, DRIFT, HALF, bias_corrected=True, **ADAPTIVE, **RATE),
    row(
        "adamw",
        partial(optax.adamw, weight_decay=0.01),
        DRIFT,
        HALF,
        decoupled_weight_decay=1e-3,
        needs_params=True,
        leafwise=True,
        **RATE,
        represents="a chain",
    ),
    row("adamax", optax.adamax, DRIFT, HALF, **ADAPTIVE, **RATE),
    row("rmsprop", partial(optax.rmsprop, eps=1e-16), DRIFT, HALF, **ADAPTIVE, **RATE),
    row(
        "rmsprop, centered",
        partial(optax.rmsprop, centered=True, momentum=0.9),
        DRIFT,
        HALF,
        leafwise=True,
        **LR,
    ),
    row("adagrad", optax.adagrad, DRIFT, HALF, leafwise=True, zero_is_fixed_point=True, **RATE),
    row("adabelief", optax.adabelief, DRIFT, HALF, leafwise=True, zero_is_fixed_point=True, **RATE),
    row("lion", optax.lion, DRIFT, leafwise=True, **RATE),
    row("lamb", optax.lamb, DRIFT, HALF, leafwise=True, **RATE),
    row("lars", optax.lars, DRIFT, leafwise=True, **LR),
    row("novograd", optax.novograd, DRIFT, HALF, leafwise=True, **RATE),
    row(
        "fromage",
        optax.fromage,
        HALF,
        leafwise=True,
        hyperparams={"learning_rate": 0.1},
        scheduled=(),
    ),
    row(
        "sm3",
        optax.sm3,
        "updates_match_gradients",
        "state_is_fixed_point",
        DRIFT,
        "zero_size_leaves",
        "finite",
        HALF,
        leafwise=True,
        keeps_sharding=False,  # sums over rows and columns, which have other parameters' shapes
        hyperparams={"learning_rate": 0.1},
        scheduled=(),
    ),
    row(
        "rprop",
        optax.rprop,
        DRIFT,
        leafwise=True,
        scale_invariant=True,
        hyperparams={"learning_rate": 0.1},
        scheduled=(),
    ),
    row("optimistic_gradient_descent", optax.optimistic_gradient_descent, DRIFT, **LINEAR, **RATE),
    row("adafactor", optax.adafactor, HALF, leafwise=True, **LR),
    row(
        "polyak_sgd",
        optax.polyak_sgd,
        "updates_match_gradients",
        extra_args={"value": jnp.float32(1.0)},
    ),
    row(
        "add_decayed_weights",
        partial(optax.add_decayed_weights, 0.01),
        needs_params=True,
        decoupled_weight_decay=-0.01,
        leafwise=True,
    ),
    row("clip", partial(optax.clip, 1.0), **LINEAR | {"linear": False, "scale_equivariant": False}),
    row(
        "clip_by_global_norm",
        partial(optax.clip_by_global_norm, 1.0),
        leaf_permutation_equivariant=True,
        zero_is_fixed_point=True,
    ),
    row(
        "adaptive_grad_clip",
        partial(optax.adaptive_grad_clip, 0.1),
        leafwise=True,
        needs_params=True,
    ),
    row(
        "normalize_by_update_norm",
        optax.normalize_by_update_norm,
        "updates_match_gradients",
        scale_invariant=True,
        zero_is_fixed_point=True,
        tolerance=1e-3,
    ),
    row("centralize", optax.centralize, **LINEAR),
    row("scale_by_trust_ratio", optax.scale_by_trust_ratio, leafwise=True),
    row(
        "masked",
        written("optax.masked(optax.sgd(0.1), by_name)"),
        masks=by_name,
        represents="masked",
    ),
    row(
        "apply_if_finite",
        written("optax.apply_if_finite(optax.sgd(0.1, momentum=0.9), 5)"),
        DRIFT,
        skips_nonfinite=True,
        represents="skipping",
    ),
    row(
        "MultiSteps",
        written("optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation()"),
        represents="accumulation",
    ),
    row("apply_every", partial(optax.apply_every, 2), DRIFT, linear=True),
    row(
        "inject_hyperparams",
        optax.inject_hyperparams(optax.adam),
        HALF,
        "updates_match_gradients",
        "state_is_fixed_point",
        DRIFT,
        leafwise=True,
        **RATE,
        represents="injected hyperparameters",
    ),
    row(
        "partition",
        written("optax.partition({True: optax.sgd(0.1), False: optax.set_to_zero()}, by_name)"),
        frozen=by_name,
        represents="partition",
    ),
    row(
        "monitor",
        written('optax.monitor({"norm": optax.tree.norm})'),
        "traced_once",
        "scan_equals_loop",
        HALF,
        "state_is_fixed_point",
        DRIFT,
    ),
    row("contrib.acprop", contrib.acprop, DRIFT, HALF, leafwise=True, **RATE),
    row(
        "contrib.simplified_ademamix",
        contrib.simplified_ademamix,
        HALF,
        DRIFT,
        leafwise=True,
        **RATE,
    ),
    row("contrib.adopt", contrib.adopt, DRIFT, HALF, leafwise=True, **RATE),
    row("contrib.cocob", contrib.cocob, "donate_safe", DRIFT, HALF, leafwise=True),
    row(
        "contrib.dog",
        contrib.dog,
        "donate_safe",
        HALF,
        "updates_match_gradients",
        "state_is_fixed_point",
        DRIFT,
        leaf_permutation_equivariant=True,
    ),
    row(
        "contrib.madgrad",
        partial(contrib.madgrad, 0.1),
        "donate_safe",
        HALF,
        DRIFT,
        leafwise=True,
    ),
    # Its polynomials magnify small singular values, rounding and all, up to 3.4445^5 times.
    row(
        "contrib.muon",
        partial(contrib.muon, 0.1),
        DRIFT,
        "zero_size_leaves",
        HALF,
        **MATRIX,
        tolerance=1e-3,
    ),
    row(
        "contrib.prodigy",
        contrib.prodigy,
        "donate_safe",
        "finite",
        HALF,
        "updates_match_gradients",
        "state_is_fixed_point",
        DRIFT,
    ),
    row(
        "contrib.reduce_on_plateau",
        contrib.reduce_on_plateau,
        extra_args={"value": jnp.float32(1.0)},
    ),
    row("contrib.schedule_free_sgd", contrib.schedule_free_sgd),
    row(
        "contrib.sam normalize",
        contrib.normalize,
        "updates_match_gradients",
        "finite",
        HALF,
        "zero_is_fixed_point",
        scale_invariant=True,
        zero_is_fixed_point=True,
    ),
]
