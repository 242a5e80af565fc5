"""Every transform of gradtx with what it claims to be: one row each, for test_contracts.py.

A row is `row(name, factory, **claims)`. `factory(**claims["hyperparams"])` makes the transform;
the claims are those of `gradtx.testing.check_transformation`, which checks each with the law of its
name:

    hyperparams={"x": 0.1}          arguments of the factory that may also be traced JAX scalars
    scheduled=("learning_rate",)    ... and, of these, schedules (all of `hyperparams` unless given)
    proportional_to="learning_rate" u is this hyperparameter, at this count, times something
    needs_params=True / False       update raises without params / gives the same without
    linear, scale_equivariant       u(a g + b h) = a u(g) + b u(h);  u(a g) = a u(g) for a > 0
    scale_invariant                 u(a g) = u(g) for a > 0, at moderate |g|
    translation_equivariant         u does not depend on where params are
    leafwise                        each leaf's update is that of the leaf alone
    leaf_permutation_equivariant    swapping two leaves swaps their updates (leafwise implies it)
    zero_is_fixed_point             zero gradients from the start give zero updates
    bias_corrected                  under a constant gradient every update equals the first
    elementwise                     each element's update is that of the element alone
    units={"x": (i, j)}             the powers of parameters' and loss' units that x has
    converges=r                     |p_t - minimum| ~ r^t on a convex quadratic
    state_bytes=n                   bytes of the state for each float32 parameter
    decoupled_weight_decay=c        u(g, p) = u(g, 0) - c p, whatever g was
    masks=f, frozen=f               u = g, u = 0 where f(params) (a tree of bools) is False
    skips_nonfinite                 a gradient with NaN or inf gives u = 0 and leaves no trace
    none_gradients                  a leaf whose gradient is None is passed over
    computes_in_float32             bfloat16 in and out, but float32 within
    equals=tx, oracle=(init, step)  same updates as another transform, as a float64 NumPy rule
    finite=False, low_precision=False, mixed_precision=False, tolerance=1e-4    weaken a law

Unlike Optax's, every gradtx transform takes `None` gradients, computes in float32 and keeps its
state's dtypes, so `row` claims those for all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

import gradtx
from gradtx.testing.laws import LAWS


@dataclass(frozen=True)
class Row:
    """One transform and its claims; a representative of a mechanism is tried on all laws."""

    name: str
    factory: Callable[..., Any]
    claims: Mapping[str, Any]
    represents: str = ""


# Laws of what transforms share: `leafwise`, `transformation`, `chain`, the wrappers. Without
# --thorough they are tried on the rows that represent something, one for each mechanism.
MACHINERY = (
    "pure",
    "resume_equals_uninterrupted",
    "extra_args_ignored",
    "counter_saturates",
    "chain_identity",
    "chain_associative",
    "jit_equals_eager",
    "traced_once",
    "scan_equals_loop",
    "vmap_equals_loop",
    "sharded_equals_single",
    "sharding_is_kept",
    "elementwise",
    "constant_schedule_equals_number",
    "schedule_starts_at_zero",
    "set_equals_constant",
    "state_survives_none",
    "state_takes_any_leaf",
    "state_unflattens",
    "updates_match_gradients",
    "state_is_fixed_point",
    "state_is_fixed_point_mixed",
    "computes_in_float32",
    "none_leaves",
    "none_gradients",
    "empty_tree",
    "inputs_untouched",
)
OWN = tuple(name for name in LAWS if name not in MACHINERY)


COMMON = {"none_gradients": True, "computes_in_float32": True}

LINEAR = {
    "linear": True,
    "scale_equivariant": True,
    "translation_equivariant": True,
    "zero_is_fixed_point": True,
    "leafwise": True,
    "needs_params": False,
}
ADAPTIVE = {
    "scale_invariant": True,
    "translation_equivariant": True,
    "zero_is_fixed_point": True,
    "leafwise": True,
    "needs_params": False,
}
JOINT = {
    "leaf_permutation_equivariant": True,
    "translation_equivariant": True,
    "zero_is_fixed_point": True,
    "needs_params": False,
}
RATE = {"proportional_to": "learning_rate"}
# Units of a learning rate: of SGD a length of parameters squared over a loss, of Adam a length.
SGD = {"units": {"learning_rate": (2, -1)}, "elementwise": True}
ADAM = {"units": {"learning_rate": (1, 0)}, "elementwise": True}


def row(name: str, factory: Callable[..., Any], *, represents: str = "", **claims: Any) -> Row:
    """A row with the claims that all gradtx transforms make."""
    return Row(name, factory, COMMON | claims, represents)


def first_leaf(tree: Any) -> Any:
    """A mask that holds for the first leaf only."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten([i == 0 for i in range(len(leaves))])


def all_but_the_first_leaf(tree: Any) -> Any:
    """The mask of the other leaves."""
    return jax.tree.map(lambda on: not on, first_leaf(tree))


def first_leaf_moves(tree: Any) -> Any:
    """Labels for `partition`."""
    return jax.tree.map(lambda on: "move" if on else "stay", first_leaf(tree))


TRANSFORMS = [
    row("identity", gradtx.identity, **LINEAR),
    row("empty chain", gradtx.chain, **LINEAR),
    row(
        "scale_by_learning_rate",
        gradtx.scale_by_learning_rate,
        represents="a leafwise rule without slots",
        hyperparams={"learning_rate": 0.1},
        **LINEAR,
        **RATE,
        state_bytes=0,
        **SGD,
    ),
    row(
        "scale_by_momentum",
        gradtx.scale_by_momentum,
        hyperparams={"momentum": 0.9},
        **LINEAR,
        state_bytes=4,
        elementwise=True,
    ),
    row(
        "scale_by_momentum, nesterov",
        partial(gradtx.scale_by_momentum, nesterov=True),
        hyperparams={"momentum": 0.9, "dampening": 0.5},
        **LINEAR,
    ),
    row(
        "scale_by_momentum, dampening",
        partial(gradtx.scale_by_momentum, dampening=True),
        hyperparams={"momentum": 0.9},
        **LINEAR,
    ),
    row(
        "scale_by_rms",
        gradtx.scale_by_rms,
        hyperparams={"decay": 0.9, "eps": 1e-16},
        **ADAPTIVE,
        elementwise=True,
        state_bytes=4,
    ),
    row(
        "scale_by_rms, bias_correction",
        partial(gradtx.scale_by_rms, bias_correction=True),
        hyperparams={"decay": 0.9, "eps": 1e-16},
        bias_corrected=True,
        **ADAPTIVE,
    ),
    row(
        "scale_by_rms, centered",
        partial(gradtx.scale_by_rms, centered=True, eps_in_sqrt=True),
        hyperparams={"decay": 0.9, "eps": 1e-16},
        **ADAPTIVE,
    ),
    row(
        "scale_by_adam",
        gradtx.scale_by_adam,
        represents="a leafwise rule with slots",
        hyperparams={"b1": 0.9, "b2": 0.999, "eps": 1e-8},
        bias_corrected=True,
        **ADAPTIVE,
        state_bytes=8,
        elementwise=True,
    ),
    row(
        "scale_by_adam, nesterov",
        partial(gradtx.scale_by_adam, nesterov=True),
        hyperparams={"b1": 0.9, "b2": 0.999, "eps": 1e-8},
        **ADAPTIVE,
    ),
    row(
        "add_decayed_weights",
        gradtx.add_decayed_weights,
        hyperparams={"weight_decay": 0.01},
        needs_params=True,
        leafwise=True,
        decoupled_weight_decay=-0.01,
    ),
    row("add_l2", gradtx.add_l2, hyperparams={"l2": 0.01}, needs_params=True, leafwise=True),
    row(
        "sgd",
        gradtx.sgd,
        hyperparams={"learning_rate": 0.1},
        **LINEAR,
        **RATE,
        state_bytes=0,
        converges=0.975,
        **SGD,
    ),
    row(
        "sgd, nesterov",
        partial(gradtx.sgd, nesterov=True),
        hyperparams={"learning_rate": 0.1, "momentum": 0.9},
        **LINEAR,
        **RATE,
        state_bytes=4,
        **SGD,
    ),
    row(
        "sgd, weight_decay",
        gradtx.sgd,
        hyperparams={"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        needs_params=True,
        leafwise=True,
        decoupled_weight_decay=0.1 * 0.01,
        **RATE,
        units={"learning_rate": (2, -1), "weight_decay": (-2, 1)},
        elementwise=True,
    ),
    row(
        "sgd, l2",
        gradtx.sgd,
        hyperparams={"learning_rate": 0.1, "momentum": 0.9, "l2": 0.01},
        needs_params=True,
        leafwise=True,
        **RATE,
        units={"learning_rate": (2, -1), "l2": (-2, 1)},
        elementwise=True,
    ),
    row(
        "rmsprop",
        partial(gradtx.rmsprop, eps=1e-16),
        hyperparams={"learning_rate": 0.1, "decay": 0.9},
        **ADAPTIVE,
        **RATE,
    ),
    row(
        "rmsprop, momentum",
        partial(gradtx.rmsprop, centered=True, eps_in_sqrt=True, eps=1e-16),
        hyperparams={"learning_rate": 0.1, "momentum": 0.9},
        **ADAPTIVE,
    ),
    row(
        "adam",
        gradtx.adam,
        hyperparams={"learning_rate": 0.1, "b1": 0.9, "b2": 0.999},
        bias_corrected=True,
        **ADAPTIVE,
        **RATE,
        state_bytes=8,
        converges=0.93,
        **ADAM,
    ),
    row(
        "adamw",
        gradtx.adamw,
        represents="a chain",
        hyperparams={"learning_rate": 0.1, "weight_decay": 0.01},
        needs_params=True,
        leafwise=True,
        decoupled_weight_decay=0.1 * 0.01,
        **RATE,
        state_bytes=8,
        units={"learning_rate": (1, 0), "weight_decay": (-1, 0)},
        elementwise=True,
    ),
    row(
        "scale_by_ademamix",
        gradtx.scale_by_ademamix,
        hyperparams={"b1": 0.9, "b2": 0.999, "b3": 0.9999, "alpha": 5.0, "eps": 1e-8},
        **ADAPTIVE,
    ),
    row(
        "scale_by_adopt",
        partial(gradtx.scale_by_adopt, eps=1e-16),
        hyperparams={"b1": 0.9, "b2": 0.9999},
        **ADAPTIVE,
    ),
    row(
        "adopt",
        gradtx.adopt,
        hyperparams={"learning_rate": 0.1, "weight_decay": 0.01},
        needs_params=True,
        leafwise=True,
        decoupled_weight_decay=0.1 * 0.01,
        **RATE,
    ),
    # Bases of what has no direction, as the rest of a matrix of rank 1, depend on rounding.
    row(
        "scale_by_soap",
        partial(gradtx.scale_by_soap, precondition_frequency=2),
        hyperparams={"b1": 0.9, "b2": 0.95, "eps": 1e-8},
        templates=[{"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(3)}],
        tolerance=1e-3,
        **JOINT | {"leafwise": True},
    ),
    row(
        "soap",
        partial(gradtx.soap, precondition_frequency=2),
        hyperparams={"learning_rate": 0.1, "weight_decay": 0.01},
        templates=[{"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(3)}],
        tolerance=1e-3,
        needs_params=True,
        decoupled_weight_decay=0.1 * 0.01,
        **RATE,
    ),
    row("set_to_zero", gradtx.set_to_zero, **LINEAR),
    row("scale", gradtx.scale, hyperparams={"step_size": 0.5}, **LINEAR),
    row("trace", gradtx.trace, hyperparams={"decay": 0.9}, **LINEAR),
    row("ema", gradtx.ema, hyperparams={"decay": 0.9}, bias_corrected=True, **LINEAR),
    row("centralize", gradtx.centralize, **LINEAR),
    row("scale_by_sign", gradtx.scale_by_sign, **ADAPTIVE),
    row("scale_by_adadelta", gradtx.scale_by_adadelta, leafwise=True, zero_is_fixed_point=True),
    row(
        "scale_by_adamax", gradtx.scale_by_adamax, hyperparams={"b1": 0.9, "b2": 0.999}, **ADAPTIVE
    ),
    row(
        "scale_by_amsgrad",
        gradtx.scale_by_amsgrad,
        hyperparams={"b1": 0.9, "b2": 0.999},
        **ADAPTIVE,
        state_bytes=12,
        elementwise=True,
    ),
    row("scale_by_belief", gradtx.scale_by_belief, hyperparams={"b1": 0.9}, leafwise=True),
    row("scale_by_lion", gradtx.scale_by_lion, hyperparams={"b1": 0.9, "b2": 0.99}, leafwise=True),
    row("scale_by_radam", gradtx.scale_by_radam, hyperparams={"b1": 0.9}, leafwise=True),
    row("scale_by_rss", gradtx.scale_by_rss, hyperparams={"eps": 1e-7}, leafwise=True),
    row(
        "scale_by_qhadam", gradtx.scale_by_qhadam, hyperparams={"b1": 0.9, "b2": 0.999}, **ADAPTIVE
    ),
    row("scale_by_trust_ratio", gradtx.scale_by_trust_ratio, needs_params=True, leafwise=True),
    row("scale_by_larc", gradtx.scale_by_larc, needs_params=True, leafwise=True),
    row(
        "clip", gradtx.clip, hyperparams={"max_delta": 1.0}, leafwise=True, zero_is_fixed_point=True
    ),
    row(
        "clip_by_global_norm",
        gradtx.clip_by_global_norm,
        represents="a rule of the whole tree",
        hyperparams={"max_norm": 1.0},
        **JOINT,
        state_bytes=0,
    ),
    row(
        "clip_by_block_norm",
        gradtx.clip_by_block_norm,
        hyperparams={"max_norm": 1.0},
        leafwise=True,
        zero_is_fixed_point=True,
    ),
    row(
        "clip_by_block_rms", gradtx.clip_by_block_rms, hyperparams={"threshold": 1.0}, leafwise=True
    ),
    row(
        "adaptive_grad_clip",
        gradtx.adaptive_grad_clip,
        hyperparams={"clipping": 0.1},
        needs_params=True,
        leafwise=True,
    ),
    *(
        row(name, getattr(gradtx, name), hyperparams={"learning_rate": 0.1}, leafwise=True, **RATE)
        for name in (
            "adabelief",
            "adagrad",
            "adamax",
            "adamaxw",
            "amsgrad",
            "lamb",
            "lion",
            "radam",
            "sign_sgd",
            "signum",
        )
    ),
    row("qhadam", gradtx.qhadam, hyperparams={"learning_rate": 0.1}, leafwise=True, **RATE),
    row("lars", gradtx.lars, hyperparams={"learning_rate": 0.1}, leafwise=True),
    row("larc", gradtx.larc, hyperparams={"learning_rate": 0.1}, leafwise=True),
    # Its polynomials magnify small singular values, rounding and all, up to 3.4445^5 times.
    row(
        "muon",
        gradtx.muon,
        tolerance=1e-3,
        hyperparams={"learning_rate": 0.1},
        templates=[{"kernel": jnp.zeros((4, 6)), "bias": jnp.zeros(3)}],
    ),
    row(
        "masked",
        lambda: gradtx.masked(gradtx.sgd(0.1), first_leaf),
        represents="masked",
        masks=first_leaf,
    ),
    # The mean is rounded to the gradient's dtype before the inner update sees it.
    row(
        "accumulate",
        lambda: gradtx.accumulate(gradtx.sgd(0.1), 2),
        represents="accumulate",
        linear=True,
        computes_in_float32=False,
        state_bytes=4,
        elementwise=True,
    ),
    row(
        "apply_if_finite",
        lambda: gradtx.apply_if_finite(gradtx.sgd(0.1, momentum=0.9), 5),
        represents="skipping",
        skips_nonfinite=True,
    ),
    row(
        "cautious",
        lambda xi: gradtx.cautious(gradtx.adam(0.1), xi),
        hyperparams={"xi": 1.0},
        **ADAPTIVE,
    ),
    # Codes of numbers that round otherwise are others.
    row(
        "quantize_moments",
        lambda: gradtx.quantize_moments(gradtx.adam(0.1), block_size=4, min_size=1),
        translation_equivariant=True,
        zero_is_fixed_point=True,
        leafwise=True,
        needs_params=False,
    ),
    row(
        "flatten",
        lambda: gradtx.flatten(gradtx.sgd(0.1, momentum=0.9)),
        none_gradients=False,
        linear=True,
    ),
    row(
        "skip_if_not_finite",
        lambda: gradtx.skip_if_not_finite(gradtx.sgd(0.1, momentum=0.9)),
        skips_nonfinite=True,
    ),
    row(
        "partition",
        lambda: gradtx.partition(
            {"move": gradtx.sgd(0.1), "stay": gradtx.set_to_zero()}, first_leaf_moves
        ),
        represents="partition",
        frozen=first_leaf,
    ),
    row(
        "freeze",
        lambda: gradtx.freeze(gradtx.sgd(0.1, momentum=0.9), all_but_the_first_leaf),
        frozen=first_leaf,
        linear=True,
        scale_equivariant=True,
        translation_equivariant=True,
        zero_is_fixed_point=True,
        needs_params=False,
    ),
    row(
        "freeze, of what decays",
        lambda: gradtx.freeze(gradtx.adamw(0.1, weight_decay=0.01), all_but_the_first_leaf),
        frozen=first_leaf,
        needs_params=True,
    ),
    row(
        "freeze, of gradients alone",
        lambda: gradtx.freeze(first_leaf),
        masks=first_leaf,
        frozen=all_but_the_first_leaf,
        linear=True,
        scale_equivariant=True,
        translation_equivariant=True,
        zero_is_fixed_point=True,
        needs_params=False,
    ),
    row("schedule_free_sgd", gradtx.schedule_free_sgd, hyperparams={"learning_rate": 0.1}),
    row(
        "a chain with a part of Optax's",
        lambda: gradtx.chain(optax.clip(1.0), gradtx.adam(0.1)),
        represents="Optax's parts",
        none_gradients=False,
        zero_is_fixed_point=True,
    ),
    row(
        "scale_by_stddev",
        partial(gradtx.scale_by_stddev, eps=1e-16),
        hyperparams={"decay": 0.9},
        **ADAPTIVE,
    ),
    row(
        "scale_by_stats, momentum",
        lambda momentum: gradtx.scale_by_stats(
            gradtx.average_grad(momentum), step=gradtx.momentum_step
        ),
        hyperparams={"momentum": 0.9},
        equals=gradtx.scale_by_momentum(0.9),
        **LINEAR,
    ),
    row(
        "ema_params",
        gradtx.ema_params,
        hyperparams={"decay": 0.9},
        needs_params=True,
        leafwise=True,
        equals=gradtx.identity(),
    ),
    row(
        "lookahead",
        lambda slow_step_size: gradtx.lookahead(gradtx.sgd(0.1), 2, slow_step_size),
        hyperparams={"slow_step_size": 0.5},
        needs_params=True,
        leafwise=True,
        zero_is_fixed_point=True,  # linear only but for the rounding of slow - p
    ),
    # The next three change bfloat16 parameters by what moves them to a number that they can hold,
    # which is another update than float32's, rounded.
    row(
        "master_weights",
        lambda: gradtx.master_weights(gradtx.sgd(0.1, momentum=0.9)),
        equals=gradtx.sgd(0.1, momentum=0.9),
        **LINEAR | {"needs_params": True},
        computes_in_float32=False,
    ),
    row(
        "kahan_summation",
        gradtx.kahan_summation,
        needs_params=True,
        leafwise=True,
        zero_is_fixed_point=True,
        computes_in_float32=False,
    ),
    row(
        "stochastic_rounding",
        gradtx.stochastic_rounding,
        represents="random bits of seed and count",
        equals=gradtx.identity(),
        **LINEAR | {"needs_params": True},
        computes_in_float32=False,
    ),
    row(
        "schedule_free_adamw",
        gradtx.schedule_free_adamw,
        represents="schedule_free",
        hyperparams={"learning_rate": 0.1, "b1": 0.9},
        needs_params=True,
        leafwise=True,
        zero_is_fixed_point=True,
    ),
    row(
        "fastai_rmsprop",
        gradtx.presets.fastai_rmsprop,
        hyperparams={"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        needs_params=True,
        leafwise=True,
        decoupled_weight_decay=0.1 * 0.01,
        **RATE,
    ),
]
