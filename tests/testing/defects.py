"""Small wrong transformations, each with the law that must catch it.

All are plain Optax pairs, as a user would write them, and all would train a small model well
enough for the mistake to go unseen.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradtx


@dataclass(frozen=True)
class Defect:
    """What is wrong, the transformation, the laws that find it, and what is claimed of it.

    `spreads` says that what is wrong breaks further laws too.
    """

    name: str
    factory: Callable[..., Any]
    laws: tuple[str, ...]
    claims: Mapping[str, Any] = field(default_factory=dict)
    spreads: bool = False


DEFECTS: list[Defect] = []


def caught_by(*laws: str, spreads: bool = False, **claims: Any) -> Callable[[Callable], Callable]:
    """Enter a factory in `DEFECTS` under the first line of its docstring."""

    def enter(factory: Callable) -> Callable:
        DEFECTS.append(Defect(factory.__doc__.splitlines()[0], factory, laws, claims, spreads))
        return factory

    return enter


def also(name: str, factory: Callable, *laws: str, spreads: bool = False, **claims: Any) -> None:
    DEFECTS.append(Defect(name, factory, laws, claims, spreads))


zeros = partial(jax.tree.map, jnp.zeros_like)
tx = optax.GradientTransformationExtraArgs


def stateless(rule: Callable) -> Any:
    """A transformation without memory, from rule(gradient leaf, parameter leaf)."""
    update = lambda g, state, params=None, **extra: (jax.tree.map(rule, g, params), state)
    return tx(lambda params: optax.EmptyState(), update)


class Adam(NamedTuple):
    count: Any
    mu: Any
    nu: Any


B1, B2, EPS, RATE = 0.9, 0.99, 1e-3, 0.1


def adam_rule(g, memory, p, t):
    """Adam in float64, the oracle."""
    mu, nu = memory
    mu, nu = B1 * mu + (1 - B1) * g, B2 * nu + (1 - B2) * g * g
    m_hat, v_hat = mu / (1 - B1 ** (t + 1)), nu / (1 - B2 ** (t + 1))
    return -RATE * m_hat / (np.sqrt(v_hat) + EPS), (mu, nu)


ADAM_ORACLE = (lambda p: (0 * p, 0 * p), adam_rule)


def adam(
    *,
    b1: float = B1,
    b2: float = B2,
    eps: float = EPS,
    later: int = 1,
    corrected: bool = True,
    root: Callable | None = None,
    decay_into_gradient: float = 0.0,
    decay_past_rate: float = 0.0,
    sign: float = -1.0,
) -> Any:
    """Adam with a place for every mistake; without arguments it is right."""
    root = root or (lambda v: jnp.sqrt(v) + eps)

    def init(params):
        return Adam(jnp.zeros((), jnp.int32), zeros(params), zeros(params))

    def update(updates, state, params=None, **extra):
        t = (state.count + later).astype(jnp.float32)
        c1, c2 = (1 - b1**t, 1 - b2**t) if corrected else (1.0, 1.0)
        if decay_into_gradient:
            updates = jax.tree.map(lambda g, p: g + decay_into_gradient * p, updates, params)
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, updates)
        out = jax.tree.map(lambda m, v: sign * RATE * (m / c1) / root(v / c2), mu, nu)
        if decay_past_rate:
            out = jax.tree.map(lambda u, p: u - decay_past_rate * p, out, params)
        return out, Adam(optax.safe_increment(state.count), mu, nu)

    return tx(init, update)


PLAIN = {"low_precision": False}
LIKE_ADAM = PLAIN | {"oracle": ADAM_ORACLE}
DECAY = PLAIN | {"decoupled_weight_decay": RATE * 0.01}

also(
    "no bias correction",
    partial(adam, corrected=False, eps=1e-8),
    "bias_corrected",
    bias_corrected=True,
    **PLAIN,
)
also(
    "bias correction one step late",
    partial(adam, later=2, eps=1e-8),
    "bias_corrected",
    bias_corrected=True,
    **PLAIN,
)
also("eps inside the root", partial(adam, root=lambda v: jnp.sqrt(v + EPS)), "oracle", **LIKE_ADAM)
also("eps squared away", partial(adam, root=lambda v: jnp.sqrt(v + EPS**2)), "oracle", **LIKE_ADAM)
also("no eps", partial(adam, eps=0.0), "finite", **PLAIN)
also("b1 and b2 swapped", partial(adam, b1=B2, b2=B1), "oracle", **LIKE_ADAM)
also("uphill", partial(adam, sign=1.0), "oracle", **LIKE_ADAM)
also(
    "decay inside the gradient",
    partial(adam, decay_into_gradient=0.01),
    "decoupled_weight_decay",
    **DECAY,
)
also(
    "decay without the rate", partial(adam, decay_past_rate=0.01), "decoupled_weight_decay", **DECAY
)
also(
    "eps too large to be invariant",
    partial(adam, eps=0.1),
    "scale_invariant",
    scale_invariant=True,
    **PLAIN,
)


def scheduled(
    at: Callable = lambda count: count,
    *,
    sign: Callable = lambda rate: -1.0,
    next_count: Callable = optax.safe_increment,
) -> Callable:
    """A factory of SGD whose schedule is read at `at(count)`; right without arguments."""

    def factory(learning_rate):
        def update(updates, count, params=None, **extra):
            rate = learning_rate(at(count)) if callable(learning_rate) else learning_rate
            step = lambda g: sign(learning_rate) * rate * g
            return jax.tree.map(step, updates), next_count(count)

        return tx(lambda params: jnp.zeros((), jnp.int32), update)

    return factory


SCHEDULED = PLAIN | {"hyperparams": {"learning_rate": 0.1}, "proportional_to": "learning_rate"}
also(
    "schedule one step early",
    scheduled(lambda t: t + 1),
    "schedule_starts_at_zero",
    "proportional_to",
    **SCHEDULED,
)
also(
    "schedule one step late",
    scheduled(lambda t: jnp.maximum(t, 1) - 1),
    "proportional_to",
    **SCHEDULED,
)
also("schedule never moves", scheduled(lambda t: 0 * t), "proportional_to", **SCHEDULED)
also(
    "schedule without the minus sign",
    scheduled(sign=lambda rate: 1.0 if callable(rate) else -1.0),
    "constant_schedule_equals_number",
    "schedule_starts_at_zero",
    "proportional_to",
    **SCHEDULED,
)
also(
    "count that overflows",
    scheduled(next_count=lambda count: count + 1),
    "counter_saturates",
    **SCHEDULED,
)


@caught_by("traced_equals_constant", hyperparams={"learning_rate": 0.1}, scheduled=(), **PLAIN)
def branches_on_rate(learning_rate):
    """a Python branch on the learning rate"""
    return optax.identity() if learning_rate == 0 else stateless(lambda g, p: -learning_rate * g)


@caught_by("set_equals_constant", hyperparams={"factor": 2.0})
def hyperparameter_baked_in(factor):
    """a runtime hyperparameter that is read from the closure"""
    value = factor if not callable(factor) else None

    def rule(h):
        return lambda g, p: g * (h.factor if value is None else value)

    return gradtx.leafwise("baked_in", rule, factor=(factor, gradtx.NON_NEGATIVE))


@caught_by("state_is_fixed_point_mixed", promotion="standard")
def dtype_drift():
    """a state that takes over the dtype of the gradient"""

    def update(updates, state, params=None, **extra):
        state = jax.tree.map(lambda v, g: 0.5 * v + g, state, updates)
        return jax.tree.map(lambda u, g: u.astype(g.dtype), state, updates), state

    return tx(zeros, update)


@caught_by("updates_match_gradients")
def update_in_float32():
    """an update that leaves as float32 whatever came in"""
    return stateless(lambda g, p: -0.1 * g.astype(jnp.float32))


@caught_by("computes_in_float32", computes_in_float32=True, mixed_precision=False)
def bfloat16_average():
    """an average that is kept in bfloat16"""
    return optax.ema(0.9, debias=False)


@caught_by("donate_safe", **PLAIN)
def keeps_the_parameters():
    """a state that holds the very buffers of the parameters"""
    update = lambda g, start, p=None, **extra: (
        jax.tree.map(lambda g, s, p: s - p - g, g, start, p),
        start,
    )
    return tx(lambda params: params, update)


@caught_by("donate_safe", **PLAIN)
def shared_moments():
    """two moments that start as one buffer"""

    def init(params):
        start = zeros(params)
        return start, start

    def update(updates, state, params=None, **extra):
        mu = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state[0], updates)
        nu = jax.tree.map(lambda v, g: jnp.maximum(v, jnp.abs(g)), state[1], updates)
        return jax.tree.map(lambda m, v: m / (v + 1e-8), mu, nu), (mu, nu)

    return tx(init, update)


def first_only(tree):
    """A mask that holds for the first leaf."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten([i == 0 for i in range(len(leaves))])


def others(tree):
    return jax.tree.map(lambda x: not x, first_only(tree))


also("mask ignored", partial(optax.scale, 0.5), "masks", masks=first_only, **PLAIN)
also(
    "mask turned round",
    lambda: optax.masked(optax.scale(0.5), others),
    "masks",
    masks=first_only,
    **PLAIN,
)
also(
    "norm of what the mask leaves out",
    lambda: optax.chain(
        optax.masked(optax.scale(0.5), first_only), optax.normalize_by_update_norm()
    ),
    "masks",
    masks=first_only,
    **PLAIN,
)
also(
    "frozen parameters decay",
    lambda: optax.chain(optax.masked(optax.set_to_zero(), others), optax.add_decayed_weights(0.01)),
    "frozen",
    frozen=first_only,
    **PLAIN,
)


@caught_by("skips_nonfinite", skips_nonfinite=True, **PLAIN)
def zero_times_nan():
    """a skipped gradient that is multiplied by zero"""

    def update(updates, velocity, params=None, **extra):
        ok = jnp.isfinite(optax.tree.norm(updates)).astype(jnp.float32)
        moved = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, updates)
        velocity = jax.tree.map(lambda new, old: ok * new + (1 - ok) * old, moved, velocity)
        return jax.tree.map(lambda v: -0.1 * ok * v, velocity), velocity

    return tx(zeros, update)


@caught_by("skips_nonfinite", skips_nonfinite=True, **PLAIN)
def skips_the_update_only():
    """a skipped step whose gradient still goes into the momentum"""
    inner = optax.sgd(0.1, momentum=0.9)

    def update(updates, state, params=None, **extra):
        ok = jnp.isfinite(optax.tree.norm(updates))
        clean = jax.tree.map(lambda g: jnp.where(ok, g, 0), updates)
        out, state = inner.update(clean, state, params)
        return jax.tree.map(lambda u: jnp.where(ok, u, 0), out), state

    return tx(inner.init, update)


@jax.tree_util.register_static
@dataclass(frozen=True)
class StaticCount:
    value: int


@caught_by(
    "state_is_fixed_point",
    "state_is_fixed_point_mixed",
    "traced_once",
    "scan_equals_loop",
    "none_gradients",
    none_gradients=True,
)
def count_in_the_treedef():
    """a count that is part of the tree's structure, so that every step compiles"""
    return tx(
        lambda params: StaticCount(0),
        lambda g, state, params=None, **extra: (g, StaticCount(state.value + 1)),
    )


MOST = 2**31 - 1


@caught_by("traced_once")
def weak_count():
    """a count that starts weakly typed and compiles twice"""
    return tx(
        lambda params: 0,
        lambda g, count, params=None, **extra: (g, jnp.minimum(count, MOST - 1) + jnp.int32(1)),
    )


@caught_by(
    "state_is_fixed_point",
    "state_is_fixed_point_mixed",
    "scan_equals_loop",
    "traced_once",
    promotion="standard",
)
def count_becomes_float():
    """an integer count that a float increment turns into float32"""
    return tx(
        lambda params: jnp.zeros((), jnp.int32),
        lambda g, count, params=None, **extra: (g, count + 1.0),
    )


@caught_by("state_is_fixed_point", "scan_equals_loop", "traced_once", **PLAIN)
def filled_later():
    """a state that is empty until the first update fills it"""
    return tx(
        lambda params: {}, lambda g, s, params=None, **extra: (g, {"norm": optax.tree.norm(g)})
    )


def nesterov_rule(g, v, p, t):
    v = 0.9 * v + g
    return -RATE * (0.9 * v + g), v


@caught_by("oracle", oracle=(lambda p: 0 * p, nesterov_rule), **PLAIN)
def nesterov_with_the_old_velocity():
    """Nesterov momentum that looks ahead from the old velocity"""

    def update(updates, velocity, params=None, **extra):
        out = jax.tree.map(lambda v, g: -RATE * (0.9 * v + g), velocity, updates)
        return out, jax.tree.map(lambda v, g: 0.9 * v + g, velocity, updates)

    return tx(zeros, update)


@caught_by("equals", equals=optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation(), **PLAIN)
def sum_for_mean():
    """accumulated gradients that are summed where the mean is meant"""

    def update(updates, state, params=None, **extra):
        count, total = state
        total = jax.tree.map(jnp.add, total, updates)
        last = count == 1
        out = jax.tree.map(lambda x: jnp.where(last, -0.1 * x, 0), total)
        return out, (1 - count, jax.tree.map(lambda x: jnp.where(last, 0, x), total))

    return tx(lambda params: (jnp.zeros((), jnp.int32), zeros(params)), update)


@caught_by("pure", spreads=True)
def counts_in_python():
    """a count that lives in the closure"""
    calls = []

    def update(updates, state, params=None, **extra):
        calls.append(None)
        rate = 1 / len(calls)
        return jax.tree.map(lambda g: -rate * g, updates), state

    return tx(lambda params: optax.EmptyState(), update)


@caught_by("resume_equals_uninterrupted", spreads=True, **PLAIN)
def start_in_the_closure():
    """a start that `init` leaves in the closure, which a restart does not have"""
    memory = {}

    def init(params):
        memory["start"] = params
        return optax.EmptyState()

    def update(updates, state, params=None, **extra):
        pull = lambda g, p, start: g + 0.1 * (p - start)
        return jax.tree.map(pull, updates, params, memory["start"]), state

    return tx(init, update)


@caught_by("inputs_untouched", spreads=True)
def pops_from_the_gradients():
    """gradients that are changed in place"""

    def update(updates, state, params=None, **extra):
        if isinstance(updates, dict):
            for key in updates:
                updates[key] = jax.tree.map(lambda g: -g, updates[key])
            return dict(updates), state
        return jax.tree.map(lambda g: -g, updates), state

    return tx(lambda params: optax.EmptyState(), update)


also(
    "clips by the norm of all leaves",
    partial(optax.clip_by_global_norm, 1.0),
    "leafwise",
    leafwise=True,
    **PLAIN,
)


@caught_by("finite", "finite_low_precision")
def unit_norm():
    """a gradient over its norm, which may be zero"""

    def update(updates, state, params=None, **extra):
        norm = optax.tree.norm(jax.tree.map(lambda g: g.astype(jnp.float32), updates))
        return jax.tree.map(
            lambda g: (g.astype(jnp.float32) / norm).astype(g.dtype), updates
        ), state

    return tx(lambda params: optax.EmptyState(), update)


@caught_by("none_leaves", "updates_match_gradients", "state_is_fixed_point", **PLAIN)
def maps_over_none():
    """arithmetic on the `None` of a parameter that has no gradient"""

    def update(updates, state, params=None, **extra):
        return jax.tree.map(lambda g: -0.1 * g, updates, is_leaf=lambda x: x is None), state

    return tx(lambda params: optax.EmptyState(), update)


also(
    "mean of a leaf without elements",
    partial(stateless, lambda g, p: g - jnp.max(g, keepdims=True).reshape((1,) * g.ndim)),
    "zero_size_leaves",
    **PLAIN,
)


@caught_by("empty_tree")
def largest_of_none():
    """the largest of no leaves"""

    def update(updates, state, params=None, **extra):
        largest = max(leaf.size for leaf in jax.tree.leaves(updates))
        return jax.tree.map(lambda g: g / largest, updates), state

    return tx(lambda params: optax.EmptyState(), update)


@caught_by("extra_args_ignored")
def strict_signature():
    """an `update` that takes extra arguments, but not those it does not know"""

    def update(updates, state, params=None, *, value=None):
        return updates, state

    return tx(lambda params: optax.EmptyState(), update)


@caught_by("requires_params", needs_params=True, mixed_precision=False)
def decay_without_parameters():
    """weight decay that is left out in silence where the parameters are missing"""

    def update(updates, state, params=None, **extra):
        if params is None:
            return updates, state
        return jax.tree.map(lambda g, p: g + jnp.asarray(0.01, p.dtype) * p, updates, params), state

    return tx(lambda params: optax.EmptyState(), update)


also(
    "needs the parameters it says it does not",
    partial(optax.add_decayed_weights, 0.0),
    "params_are_optional",
    needs_params=False,
    **PLAIN,
)


@caught_by("jit_equals_eager", spreads=True, **PLAIN)
def branches_on_the_gradient():
    """a Python branch on the gradient"""

    def update(updates, state, params=None, **extra):
        total = sum(jnp.sum(g) for g in jax.tree.leaves(updates))
        return (zeros(updates) if total == 0 else updates), state

    return tx(lambda params: optax.EmptyState(), update)


@caught_by("init_is_traceable", spreads=True, **PLAIN)
def init_reads_values():
    """an `init` that turns parameters into Python numbers"""

    def init(params):
        return [jnp.float32(float(jnp.sum(p))) for p in jax.tree.leaves(params)]

    return tx(init, lambda g, state, params=None, **extra: (g, state))


@caught_by("vmap_equals_loop")
def calls_back():
    """a call back to Python that can't be mapped"""

    def twice(g):
        spec = jax.ShapeDtypeStruct(g.shape, g.dtype)
        return jax.pure_callback(lambda x: np.asarray(x) * 2, spec, g)

    return stateless(lambda g, p: twice(g))


@caught_by("sharded_equals_single", **PLAIN)
def pinned_to_a_device():
    """a state that is made on the first device whatever the parameters are on"""
    device = jax.devices()[0]
    init = lambda params: jax.tree.map(
        lambda p: jax.device_put(jnp.zeros(p.shape, p.dtype), device), params
    )

    def update(updates, state, params=None, **extra):
        state = jax.tree.map(lambda v, g: g + v, state, updates)
        return state, state

    return tx(init, update)


also(
    "updates that depend on where the parameters are",
    lambda: optax.chain(optax.add_decayed_weights(0.01), optax.trace(0.9)),
    "translation_equivariant",
    translation_equivariant=True,
    **PLAIN,
)


@caught_by("leafwise", "leaf_permutation_equivariant", leafwise=True)
def rate_by_place():
    """a rate that goes by the leaf's place in the tree"""

    def update(updates, state, params=None, **extra):
        leaves, treedef = jax.tree.flatten(updates)
        return treedef.unflatten([g / (i + 1) for i, g in enumerate(leaves)]), state

    return tx(lambda params: optax.EmptyState(), update)


also(
    "a clip in what is called linear",
    partial(optax.clip, 10.0),
    "linear",
    "scale_equivariant",
    linear=True,
    scale_equivariant=True,
    **PLAIN,
)
also(
    "decay in what is called a fixed point",
    partial(optax.add_decayed_weights, 0.01),
    "zero_is_fixed_point",
    zero_is_fixed_point=True,
    **PLAIN,
)


@caught_by("none_gradients", none_gradients=True)
def zero_for_none():
    """a zero where there is no gradient"""

    def update(updates, state, params=None, **extra):
        fill = lambda g, p: jnp.zeros_like(p) if g is None and p is not None else g
        return jax.tree.map(fill, updates, params, is_leaf=lambda x: x is None), state

    return tx(lambda params: optax.EmptyState(), update)


def keyed_node(*, flatten: Callable, unflatten: Callable, keys: Callable) -> type:
    """A pytree class of two fields; `keys(node)` are (key, child) pairs."""

    class Pair:
        def __init__(self, count, total):
            self.count, self.total = count, total

    jax.tree_util.register_pytree_with_keys(
        Pair, lambda node: (keys(node), None), lambda aux, children: unflatten(Pair, children),
        lambda node: (flatten(node), None),
    )  # fmt: skip
    return Pair


def field_keys(node: Any) -> list[tuple[Any, Any]]:
    return [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in ("count", "total")]


def counting_pair(
    *,
    flatten: Callable = lambda node: (node.count, node.total),
    unflatten: Callable = lambda cls, children: cls(*children),
    keys: Callable = field_keys,
) -> Any:
    """A transformation whose state is a node with a place for every mistake; right without them."""
    pair = keyed_node(flatten=flatten, unflatten=unflatten, keys=keys)

    def update(updates, state, params=None, **extra):
        total = state.total + optax.tree.norm(updates)
        return updates, pair(optax.safe_increment(state.count), total)

    return tx(lambda params: pair(jnp.zeros((), jnp.int32), jnp.zeros(())), update)


def only_what_is_there(node: Any) -> tuple[Any, Any]:
    return (() if node.count is None else (node.count,), node.total)


def optional_keys(node: Any) -> list[tuple[Any, Any]]:
    names = [jax.tree_util.GetAttrKey(name) for name in ("count", "total")]
    return list(zip(names, only_what_is_there(node), strict=True))


also(
    "a node that flattens otherwise where a child is None",
    partial(
        counting_pair,
        flatten=only_what_is_there,
        unflatten=lambda cls, children: cls(children[0][0] if children[0] else None, children[1]),
        keys=optional_keys,
    ),
    "state_survives_none",
    **PLAIN,
)
also(
    "a node that looks at its children as it is put together",
    partial(
        counting_pair,
        unflatten=lambda cls, children: cls(
            children[0] if getattr(children[0], "dtype", None) == jnp.int32 else None, children[1]
        ),
    ),
    "state_takes_any_leaf",
    "state_unflattens",
    **PLAIN,
)
also(
    "a node whose keys are in another order than its children",
    partial(counting_pair, keys=lambda node: field_keys(node)[::-1]),
    "state_unflattens",
    spreads=True,
    **PLAIN,
)
also(
    "a node with one key for two children",
    partial(
        counting_pair,
        keys=lambda node: [(jax.tree_util.GetAttrKey("x"), child) for _, child in field_keys(node)],
    ),
    "state_unflattens",
    spreads=True,
    **PLAIN,
)
NUMBERS = itertools.count()
also(
    "a node with new keys every time",
    partial(
        counting_pair,
        keys=lambda node: [
            (jax.tree_util.SequenceKey(next(NUMBERS)), child) for _, child in field_keys(node)
        ],
    ),
    "state_unflattens",
    spreads=True,
    **PLAIN,
)


@caught_by("loss_scale", scale_invariant=True, **PLAIN)
def clips_far_out():
    """a clip at 1e4 in what is called invariant to scale"""

    def direction(g):
        g = jnp.clip(g, -1e4, 1e4)
        return -RATE * g / (jnp.max(jnp.abs(g), initial=0.0) + 1e-20)

    return stateless(lambda g, p: direction(g))


UNITS = {"hyperparams": {"learning_rate": 0.1, "weight_decay": 0.01}, "scheduled": (), **PLAIN}


@caught_by("units", units={"learning_rate": (2, -1), "weight_decay": (-2, 1)}, **UNITS)
def rate_squared(learning_rate, weight_decay):
    """weight decay that the learning rate multiplies twice"""
    rate, decay = learning_rate, learning_rate**2 * weight_decay
    return stateless(lambda g, p: -rate * g - decay * p)


@caught_by("units", units={"learning_rate": (2, -1), "weight_decay": (-2, 1)}, **UNITS)
def decay_past_the_rate(learning_rate, weight_decay):
    """weight decay that the learning rate does not multiply"""
    return stateless(lambda g, p: -learning_rate * g - weight_decay * p)


also(
    "a norm by leaf in what is called elementwise",
    partial(optax.clip_by_block_rms, 1.0),
    "elementwise",
    elementwise=True,
    **PLAIN,
)
also(
    "a step past twice the inverse of the largest curvature",
    partial(optax.sgd, 2.1),
    "converges",
    converges=0.975,
    **PLAIN,
)
also(
    "momentum that slows the descent down",
    partial(optax.sgd, 0.1, momentum=0.99),
    "converges",
    converges=0.975,
    **PLAIN,
)


@caught_by("state_bytes", state_bytes=8, **PLAIN)
def a_slot_too_many():
    """a third slot beside the two that are claimed"""
    update = lambda g, state, params=None, **extra: (g, state)
    return tx(lambda params: [zeros(params) for _ in range(3)], update)


@caught_by("sharding_is_kept", **PLAIN)
def gathered():
    """an average whose every element is on every device"""

    def update(updates, state, params=None, **extra):
        average = lambda v, g: 0.9 * v + jnp.broadcast_to(jnp.mean(g), g.shape)
        return updates, jax.tree.map(average, state, updates)

    return tx(lambda params: jax.tree.map(lambda p: jnp.zeros(p.shape, p.dtype), params), update)
