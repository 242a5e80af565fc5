"""The core: chains, states, None leaves, donation and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.core.hyperparams import Interval
from gradtx.core.state import TransformState, with_count

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": {"c": jnp.full((2, 3), 0.5)}}
GRADS = {"a": jnp.array([0.3, 0.1]), "b": {"c": jnp.full((2, 3), -0.2)}}


def steps(tx, n=3, params=PARAMS, grads=GRADS):
    state = tx.init(params)
    update = jax.jit(tx.update)
    for _ in range(n):
        updates, state = update(grads, state, params)
        params = gradtx.apply_updates(params, updates)
    return params, state


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-6, atol=1e-7), a, b)


def test_empty_chain_is_the_identity_where_optax_0_2_8_raises():
    tx = gradtx.chain()
    updates, _ = tx.update(GRADS, tx.init(PARAMS))
    equal(updates, GRADS)


def test_a_chain_has_one_counter_and_optax_finds_it():
    """Optax's own chain(clip, adamw(schedule, weight_decay=schedule)) holds three counters."""
    schedule = optax.linear_schedule(1e-2, 0.0, 10)
    tx = gradtx.chain(
        gradtx.clip_by_global_norm(1.0), gradtx.adamw(schedule, weight_decay=schedule)
    )
    _, state = steps(tx, 4)
    assert int(optax.tree_utils.tree_get(state, "count")) == 4
    counters = [
        path for path, _ in jax.tree_util.tree_leaves_with_path(state) if "count" in str(path[-1])
    ]
    assert len(counters) == 1


def test_nested_chains_equal_the_flat_one_bit_for_bit():
    parts = gradtx.scale_by_adam(), gradtx.add_decayed_weights(0.1)
    last = gradtx.scale_by_learning_rate(0.1)
    left, _ = steps(gradtx.chain(gradtx.chain(*parts), last))
    right, _ = steps(gradtx.chain(parts[0], gradtx.chain(parts[1], last)))
    equal(left, right)


def test_eager_equals_jit():
    tx = gradtx.adamw(1e-2)
    close(
        tx.update(GRADS, tx.init(PARAMS), PARAMS),
        jax.jit(tx.update)(GRADS, tx.init(PARAMS), PARAMS),
    )


def test_the_state_survives_flattening_and_none_counters():
    _, state = steps(gradtx.adamw(1e-2))
    leaves, treedef = jax.tree.flatten(state)
    again = treedef.unflatten(leaves)
    assert isinstance(again, TransformState)
    assert again.slots[0].count is None and int(again.count) == 3
    first, _ = jax.tree_util.tree_leaves_with_path(state)[0]
    assert jax.tree_util.keystr(first) == ".counter['count']"


def test_the_counter_saturates():
    tx = gradtx.adam(1e-2)
    most = jnp.iinfo(jnp.int32).max
    state = with_count(tx.init(PARAMS), jnp.int32(most))
    updates, state = tx.update(GRADS, state)
    assert int(state.count) == most
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(updates))


@pytest.mark.parametrize("tx", [gradtx.adamw(1e-2), gradtx.sgd(0.1, momentum=0.9)])
def test_a_leaf_without_gradient_is_passed_over(tx):
    grads = {"a": None, "b": GRADS["b"]}
    updates, state = jax.jit(tx.update)(grads, tx.init(PARAMS), PARAMS)
    assert updates["a"] is None
    full, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    close(updates["b"], full["b"])
    equal(gradtx.apply_updates(PARAMS, updates)["a"], PARAMS["a"])
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(PARAMS))


@pytest.mark.parametrize(
    "make",
    [
        lambda: gradtx.adamw(1e-2),
        lambda: gradtx.sgd(0.1, momentum=0.9, nesterov=True),
        lambda: gradtx.rmsprop(0.1, centered=True),
        lambda: gradtx.accumulate(gradtx.adam(0.1), 2),
        lambda: gradtx.skip_if_not_finite(gradtx.adam(0.1)),
        lambda: gradtx.master_weights(gradtx.adam(0.1)),
        lambda: gradtx.chain(gradtx.sgd(0.1), gradtx.kahan_summation()),
        lambda: gradtx.partition(
            {"x": gradtx.adam(0.1), "y": gradtx.sgd(0.1)}, {"a": "x", "b": "y"}
        ),
        lambda: gradtx.freeze(gradtx.adam(0.1), "a"),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_donation_of_parameters_and_state_is_safe(make, dtype):
    """Two leaves in one buffer, or a state that aliases parameters, would raise or be corrupt."""
    tx = make()
    params = jax.tree.map(lambda p: jnp.array(p, dtype), PARAMS)
    grads = jax.tree.map(lambda g: jnp.array(g, dtype), GRADS)

    def step(params, state):
        updates, state = tx.update(grads, state, params)
        return gradtx.apply_updates(params, updates), state

    want = [params, tx.init(params)]
    plain = jax.jit(step)
    for _ in range(3):
        want = plain(*want)
    got = jax.tree.map(jnp.copy, params), tx.init(params)
    donated = jax.jit(step, donate_argnums=(0, 1))
    for _ in range(3):
        got = donated(*got)
    equal(got, want)


@pytest.mark.parametrize(
    "make", [lambda: gradtx.adam(0.1), lambda: gradtx.accumulate(gradtx.adam(0.1), 2)]
)
def test_moments_take_the_sharding_of_the_parameters(make):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("x",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    params = {"w": jax.device_put(jnp.ones((4, 2)), sharding)}
    state = make().init(params)
    trees = [x for x in jax.tree.leaves(state) if x.ndim == 2]
    assert trees and all(x.sharding.is_equivalent_to(sharding, 2) for x in trees)
    pointers = {x.addressable_shards[0].data.unsafe_buffer_pointer() for x in [*trees, params["w"]]}
    assert len(pointers) == len(trees) + 1


def test_the_rule_is_traced_once_for_each_shape():
    calls = []

    def rule(g, p):
        calls.append(g.shape)
        return g

    tx = gradtx.leafwise("probe", lambda h: rule)
    params = [jnp.ones(3) for _ in range(10)] + [jnp.ones((2, 2)) for _ in range(10)]
    jax.jit(tx.update)(params, tx.init(params), params)
    assert sorted(calls) == [(2, 2), (3,)]


ADAM = gradtx.adamw(1e-2)
ERRORS = {
    "missing parameters": (
        lambda: (GRADS, ADAM.init(PARAMS), None),
        ValueError,
        r"add_decayed_weights\.update: needs the parameters; got params=None",
    ),
    "missing leaf": (
        lambda: ({"a": GRADS["a"], "b": {}}, ADAM.init(PARAMS), PARAMS),
        ValueError,
        r"chain\.update: `updates` must match `params` .* no leaf at b/c in `updates`",
    ),
    "other shape": (
        lambda: ({"a": jnp.ones(3), "b": GRADS["b"]}, ADAM.init(PARAMS), PARAMS),
        ValueError,
        r"shape \(3,\) at a, where `params` has \(2,\)\. Pass gradients",
    ),
    "state for other parameters": (
        lambda: (GRADS, ADAM.init({"a": PARAMS["a"]}), PARAMS),
        ValueError,
        r"scale_by_adam\.update: .* a leaf at b/c that `state\.slots\['mu'\]` lacks\..*`init`",
    ),
    "other container": (
        lambda: ((GRADS["a"],), ADAM.init((PARAMS["a"],)), [PARAMS["a"]]),
        ValueError,
        r"the same leaves in other containers",
    ),
    "bools": (
        lambda: ({"a": jnp.array([True, False]), "b": GRADS["b"]}, ADAM.init(PARAMS), PARAMS),
        TypeError,
        r"an array of numbers; got bool at a\. Pass None",
    ),
    "state of Optax": (
        lambda: (GRADS, optax.adamw(1e-2).init(PARAMS), PARAMS),
        ValueError,
        r"chain\.update: `state` must be a state of chain; got tuple\. Pass the state",
    ),
    "state of a shorter chain": (
        lambda: (GRADS, gradtx.sgd(0.1).init(PARAMS), PARAMS),
        ValueError,
        r"this chain has 3 transforms, but `state` holds 1 \(scale_by_learning_rate\)",
    ),
    "state of another chain": (
        lambda: (GRADS, gradtx.chain(*[gradtx.identity()] * 3).init(PARAMS), PARAMS),
        ValueError,
        r"scale_by_adam\.update: `state` must be a state of scale_by_adam .* got one of identity",
    ),
    "part of a state": (
        lambda: (GRADS, ADAM.init(PARAMS).slots[0], PARAMS),
        ValueError,
        r"got one of scale_by_adam with hyperparameters",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_wrong_arguments_are_named_with_the_path_and_the_remedy(case, wrap):
    arguments, error, match = ERRORS[case]
    with pytest.raises(error, match=match):
        wrap(ADAM.update)(*arguments())


def test_a_counterless_state_is_refused():
    tx = gradtx.scale_by_adam()
    with pytest.raises(ValueError, match="has no counter of its own"):
        tx.update(GRADS, ADAM.init(PARAMS).slots[0], PARAMS)


def test_a_state_with_other_slots_is_refused():
    tx, other = gradtx.scale_by_rms(), gradtx.scale_by_rms(centered=True)
    with pytest.raises(ValueError, match=r"`state\.slots` must hold \['mu', 'nu'\]; got"):
        other.update(GRADS, tx.init(PARAMS), PARAMS)


def test_chain_refuses_a_factory():
    with pytest.raises(TypeError, match=r"at place 1 must be .* Call the factory"):
        gradtx.chain(gradtx.identity(), gradtx.adam)


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (lambda: gradtx.accumulate(3, 2), "accumulate: `inner`"),
        (lambda: gradtx.accumulate(3, 1), "accumulate: `inner`"),
        (lambda: gradtx.skip_if_not_finite(3), "skip_if_not_finite: `inner`"),
        (lambda: gradtx.master_weights(3), "master_weights: `inner`"),
        (lambda: gradtx.masked(3, "a"), "masked: `inner`"),
        (lambda: gradtx.freeze(3, "a"), "freeze: `tx_or_mask`"),
        (lambda: gradtx.describe(3, PARAMS), "describe: `tx`"),
    ],
)
def test_what_is_no_transformation_is_refused(make, where):
    with pytest.raises(TypeError, match=rf"^{where} must be a gradient transf.*; got 3\. Call the"):
        make()


@pytest.mark.parametrize("tx", [ADAM, gradtx.identity(), gradtx.scale_by_adam()])
def test_leaves_that_are_no_arrays_are_named(tx):
    message = (
        r"every leaf of `{}` must be an array; got str \('abc'\) at {}\. Pass the arrays alone"
    )
    with pytest.raises(TypeError, match=r"\.init: " + message.format("params", "b/c")):
        tx.init({"a": 1.0, "b": {"c": "abc"}})
    with pytest.raises(TypeError, match=r"\.init: " + message.format("params", r"\(the root\)")):
        tx.init("abc")
    with pytest.raises(TypeError, match=r"\.update: " + message.format("updates", "a")):
        tx.update({**GRADS, "a": "abc"}, tx.init(PARAMS), PARAMS)


def keep(g, p, s):
    return g, {"s": s}


RULES = [  # the rule, with slots?, the error, what it says
    (
        lambda g, p: g[:1],
        False,
        ValueError,
        r"keep each leaf's shape; got u of shape \(1,\) at a, w",
    ),
    (
        lambda g, p, s: (g, {"s": s.sum()}),
        True,
        ValueError,
        r"keep each leaf's shape; got the slot 's' of shape \(\) at a, whose shape is",
    ),
    (
        lambda g, p, s: g,
        True,
        TypeError,
        r"return \(u, \{'s': \.\.\.\}\), .* got an array of shape",
    ),
    (
        lambda g, p, s: (g, {"t": s}),
        True,
        TypeError,
        r"return .*'s': .* got \(an array .*\{'t': an array",
    ),
    (
        lambda g, p, s: (g, {"s": None}),
        True,
        TypeError,
        r"return .*'s': .* got .*\{'s': NoneType\}",
    ),
    (lambda g, p: (g, {"s": g}), False, TypeError, r"return u, one array; got \(an array .*'s'"),
    (lambda g, p: None, False, TypeError, r"return u, one array; got NoneType"),
]


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize(("rule", "with_slots", "error", "message"), RULES)
def test_what_a_rule_returns_is_checked(rule, with_slots, error, message, wrap):
    slots = {"s": gradtx.zeros()} if with_slots else {}
    tx = gradtx.leafwise("mine", lambda h: rule, slots=slots)
    with pytest.raises(error, match=rf"^mine(\.update)?: the rule must {message}"):
        wrap(tx.update)(GRADS, tx.init(PARAMS), PARAMS)


def test_a_leafwise_transform_is_checked_when_it_is_made():
    with pytest.raises(TypeError, match=r"^mine: `update` must be a function .* got 3\. Pass"):
        gradtx.leafwise("mine", 3)
    for pair in (3, (0.1, 0.2), (0.1,)):
        message = r"^mine: the hyperparameter `rate` must be a pair \(value, Interval\); got "
        with pytest.raises(TypeError, match=message):
            gradtx.leafwise("mine", lambda h: keep, rate=pair)
        with pytest.raises(TypeError, match=message):
            gradtx.transformation("mine", lambda p: {}, lambda g, s, p, h: (g, s), rate=pair)


def test_a_rule_that_is_none_or_asks_for_what_is_not_there():
    tx = gradtx.leafwise("mine", lambda h: 3)
    with pytest.raises(TypeError, match=r"^mine: `update` must return the rule, .* got int\."):
        tx.update(GRADS, tx.init(PARAMS))
    message = r"^mine: `h` must be asked for what it has; got `h\.rat`\. Use one of: rate, "
    tx = gradtx.leafwise("mine", lambda h: lambda g, p: h.rat * g, rate=(0.1, Interval()))
    with pytest.raises(AttributeError, match=message):
        tx.update(GRADS, tx.init(PARAMS))
    whole = lambda g, slots, p, h: (jax.tree.map(lambda x: h.rat * x, g), slots)
    tx = gradtx.transformation("mine", lambda p: {}, whole, rate=(0.1, Interval()))
    with pytest.raises(AttributeError, match=message):
        tx.update(GRADS, tx.init(PARAMS))


def test_apply_updates_names_the_difference():
    with pytest.raises(ValueError, match=r"apply_updates: .* no leaf at b/c"):
        gradtx.apply_updates(PARAMS, {"a": GRADS["a"], "b": {}})
