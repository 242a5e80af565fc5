"""Groups, per-group hyperparameters, partition, masks, freezing and describe."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import by_group, describe, discriminative, freeze, label_by, masked, matching, partition

PARAMS = {
    "stem": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
    "body": {"bn": {"scale": jnp.ones(3), "bias": jnp.ones(3)}, "kernel": jnp.ones((3, 3))},
    "head": {"kernel": jnp.ones((3, 2))},
}
GRADS = jax.tree.map(lambda p: 0.3 * p, PARAMS)
THREE = label_by(stem="stem/*", body="body/*", head="head/*")


def run(tx, n=3, params=PARAMS, grads=GRADS):
    state, update = tx.init(params), jax.jit(tx.update)
    for _ in range(n):
        updates, state = update(grads, state, params)
        params = gradtx.apply_updates(params, updates)
    return params, state


def close(a, b):
    # Optax loses digits in 1 - b2^t.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), a, b)


def test_no_decay_on_norm_and_bias():
    groups = label_by(free=gradtx.norm_or_bias, decayed="*")
    tx = gradtx.adamw(0.1, weight_decay=by_group(groups, free=0.0, decayed=0.5))
    mask = jax.tree.map(lambda p: p.ndim > 1, PARAMS)
    with jax.numpy_dtype_promotion("standard"):
        want, _ = run(optax.adamw(0.1, weight_decay=0.5, mask=mask))
    close(run(tx)[0], want)


def test_the_two_ready_predicates_agree_here():
    named = matching(gradtx.norm_or_bias)(PARAMS)
    assert named == matching(gradtx.vector_or_scalar)(PARAMS)
    assert named["body"] == {"bn": {"scale": True, "bias": True}, "kernel": False}


@pytest.mark.parametrize("path", ["bn/scale/value", "bias", "fc/bias/raw_value"])
def test_norm_or_bias_sees_through_nnx(path):
    assert gradtx.norm_or_bias(path, None)
    assert not gradtx.norm_or_bias("bias/kernel", None)


@pytest.mark.parametrize("name", ["learning_rate", "b1", "b2", "eps", "weight_decay"])
def test_any_hyperparameter_takes_groups(name):
    """Reference: each group trained alone, with its own value."""
    values = {"stem": 0.1, "body": 0.2, "head": 0.3}
    base = {"learning_rate": 0.05, "weight_decay": 0.1}
    got, state = run(gradtx.adamw(**base | {name: by_group(THREE, values)}))
    for group, value in values.items():
        want, _ = run(gradtx.adamw(**base | {name: value}))
        close(got[group], want[group])
    assert {g: round(float(v), 6) for g, v in gradtx.hyperparams(state)[name].items()} == values


def test_state_has_the_structure_of_the_parameters():
    state = gradtx.adam(by_group(THREE, stem=1.0, body=2.0, head=3.0)).init(PARAMS)
    assert jax.tree.structure(state.slots[0].slots["mu"]) == jax.tree.structure(PARAMS)


def test_schedules_by_group_and_live_values_by_group():
    fast = optax.linear_schedule(1.0, 0.0, 4)
    tx = gradtx.sgd(by_group(THREE, stem=0.5, body=0.25, head=fast))
    state = tx.init(PARAMS)
    state = gradtx.set_hyperparams(state, learning_rate={"stem": 2.0})
    updates, state = jax.jit(tx.update)(GRADS, state)
    updates, state = jax.jit(tx.update)(GRADS, state)
    rates = {g: float(v) for g, v in gradtx.hyperparams(state)["learning_rate"].items()}
    assert rates == {"stem": 2.0, "body": 0.25, "head": 0.75}
    np.testing.assert_allclose(updates["head"]["kernel"], -0.75 * 0.3, rtol=1e-6)
    with pytest.raises(ValueError, match=r"learning_rate\['head'\]` follows a schedule"):
        gradtx.set_hyperparams(state, learning_rate={"head": 1.0})
    with pytest.raises(ValueError, match=r"has the groups .*; got \['tail'\]"):
        gradtx.set_hyperparams(state, learning_rate={"tail": 1.0})


@pytest.mark.parametrize(
    ("start", "want"), [(1e-4, [1e-4, 1e-3, 1e-2]), (None, [1e-3, 1e-3, 1e-2])]
)
def test_discriminative_rates_are_those_of_the_reference(start, want):
    """fastai: slice(a, b) is even_mults(a, b, n), slice(b) is [b / 10] * (n - 1) + [b]."""
    np.testing.assert_allclose(list(discriminative(THREE, 1e-2, start=start).values.values()), want)
    shaped = discriminative(THREE, 1e-2, start=start, shape=lambda count: 0.5 * count)
    np.testing.assert_allclose([f(4) for f in shaped.values.values()], 2 * np.array(want))
    assert list(discriminative(label_by(all="*"), 1e-2, start=start).values.values()) == [1e-2]


def test_label_trees_prefixes_and_functions():
    prefix = {"stem": "slow", "body": "slow", "head": "fast"}
    full = {k: jax.tree.map(lambda _, k=k: prefix[k], PARAMS[k]) for k in PARAMS}
    want, _ = run(gradtx.sgd(by_group(label_by(fast="head/*", slow="*"), slow=0.1, fast=1.0)))
    for grouping in (prefix, full, lambda tree: prefix):
        close(run(gradtx.sgd(by_group(grouping, slow=0.1, fast=1.0)))[0], want)


INF = float("inf")
ERRORS = [
    (lambda: label_by(a="stem/*")(PARAMS), r"4 of 6 are in none: body/bn/bias, .*'\*'"),
    (
        lambda: label_by(a="*", b="hed/*")(PARAMS),
        r"must get .* got none for 'b' \('hed/\*'\): no p",
    ),
    (lambda: label_by(a="*", b="head/*")(PARAMS), r"'b' .* taken by groups before it"),
    (lambda: label_by(), r"at least one group"),
    (lambda: by_group(THREE, stem=1.0), r"one value for each group; got values for \['stem'\]"),
    (lambda: discriminative(THREE, -1.0), r"`stop` must be a positive number; got -1"),
    (lambda: discriminative(THREE, 1.0, start=0.0), r"`start` must be a positive number"),
    (
        lambda: gradtx.sgd(by_group({"stem": "a", "body": "a", "head": "z"}, a=0.1)).init(PARAMS),
        r"by_group: .* one of the labels \['a'\]; got 'z' at head/kernel",
    ),
    (
        lambda: gradtx.sgd(by_group({"stem": "a"}, a=0.1)).init(PARAMS),
        r"the labels must be a tree like the parameters",
    ),
    (
        lambda: partition({"a": gradtx.adam(0.1)}, lambda p: jax.tree.map(lambda _: "b", p)).init(
            PARAMS
        ),
        r"partition: .* one of the labels \['a'\]; got 'b' at body/bn/bias",
    ),
    (
        lambda: gradtx.sgd(by_group(THREE, stem=INF, body=1, head=1)),
        r"learning_rate\['stem'\]",
    ),
    (lambda: gradtx.clip_by_global_norm(by_group(THREE, stem=1, body=1, head=1)), r"whole tree"),
]


@pytest.mark.parametrize(("call", "match"), ERRORS)
def test_errors_name_what_is_wrong(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_uncovered_parameters_are_found_at_init_with_their_number():
    tx = gradtx.adam(by_group(label_by(a="stem/*"), a=1.0))
    with pytest.raises(ValueError, match="4 of 6 are in none"):
        tx.init(PARAMS)


def test_wrong_kinds_of_rule_and_group():
    with pytest.raises(TypeError, match="rule of group 'a' must be a pattern"):
        label_by(a=3)
    with pytest.raises(TypeError, match="must have an order"):
        discriminative({"stem": "a"}, 1.0)


PARTS = {"x": (gradtx.adam(0.1), optax.adam(0.1)), "y": (gradtx.sgd(0.5), optax.sgd(0.5))}
LABELS = {"stem": "x", "body": "y", "head": "x"}


@pytest.mark.parametrize("ours", [0, 1], ids=["gradtx parts", "Optax parts"])
@pytest.mark.parametrize("nested", [False, True])
def test_partition_equals_optax(ours, nested):
    with jax.numpy_dtype_promotion("standard"):
        want, _ = run(optax.partition({k: v[1] for k, v in PARTS.items()}, LABELS))
        tx = partition({k: v[ours] for k, v in PARTS.items()}, LABELS)
        got, state = run(gradtx.chain(gradtx.identity(), tx) if nested else tx)
    close(got, want)
    if not ours:
        assert int(optax.tree_utils.tree_get(state, "count")) == 3


def test_each_part_has_state_for_its_own_leaves_only():
    state = partition({k: v[0] for k, v in PARTS.items()}, LABELS).init(PARAMS)
    mu = state.slots["x"].slots[0].slots["mu"]
    assert jax.tree.leaves(mu["body"]) == [] and mu["head"]["kernel"].shape == (3, 2)


def test_partition_divides_extra_arguments_on_request():
    seen = {}

    def spy(name):
        def update(g, slots, params, h, *, extra):
            seen[name] = len(jax.tree.leaves(extra))
            return g, slots

        return gradtx.transformation(name, lambda p: {}, update)

    for divide, want in ((True, {"x": 3, "y": 3}), (False, {"x": 6, "y": 6})):
        tx = partition({"x": spy("x"), "y": spy("y")}, LABELS, mask_compatible_extra_args=divide)
        tx.update(GRADS, tx.init(PARAMS), PARAMS, extra=GRADS)
        assert seen == want


def test_partition_refuses_another_partition_s_state():
    tx = partition({k: v[0] for k, v in PARTS.items()}, LABELS)
    other = partition({"x": gradtx.adam(0.1)}, {"stem": "x", "body": "x", "head": "x"})
    with pytest.raises(ValueError, match=r"a state for each of \['x', 'y'\]; got \['x'\]"):
        tx.update(GRADS, other.init(PARAMS), PARAMS)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Module:
    """Can be called, and is a tree: of arrays, of bools or of labels."""

    kernel: Any
    bias: Any

    def __call__(self, x):
        return x @ self.kernel + self.bias


MODULE = Module(jnp.ones((2, 2)), jnp.ones(2))


@pytest.mark.parametrize(
    "make",
    [
        lambda yes, no: masked(gradtx.sgd(1.0), Module(yes, no)),
        lambda yes, no: freeze(gradtx.scale(-1.0), Module(no, yes)),
        lambda yes, no: gradtx.adamw(1.0, weight_decay=1.0, mask=Module(yes, no)),
        lambda yes, no: gradtx.lars(1.0, trust_ratio_mask=Module(yes, no)),
        lambda yes, no: gradtx.sgd(by_group(Module("a", "b"), a=1.0, b=-0.0)),
        lambda yes, no: partition(
            {"a": gradtx.scale(-1.0), "b": gradtx.identity()}, Module("a", "b")
        ),
    ],
    ids=["masked", "freeze", "adamw", "lars", "by_group", "partition"],
)
def test_what_can_be_called_and_is_a_tree_is_taken_for_a_tree(make):
    for yes, no in ((True, False), (np.True_, jnp.array(False)), (1, 0)):
        tx = make(yes, no)
        updates, _ = tx.update(MODULE, tx.init(MODULE), MODULE)
        assert updates.kernel[0, 0] < 0 and updates.kernel[0, 0] != updates.bias[0]


def test_a_function_that_is_a_tree_is_called():
    threshold = jax.tree_util.Partial(lambda n, tree: jax.tree.map(lambda p: p.ndim > n, tree), 1)
    close(run(masked(gradtx.sgd(1.0), threshold))[0], run(masked(gradtx.sgd(1.0), "*kernel"))[0])


@pytest.mark.parametrize(
    "mask",
    [{"w": "no"}, {"w": 0.5}, {"w": None, "b": "x"}, {"w": np.ones(2, bool)}, {"w": print}, 2.5],
)
@pytest.mark.parametrize("as_function", [False, True])
def test_a_mask_of_something_else_than_bools_is_refused(mask, as_function):
    message = "must be a tree of bools, |every leaf of the mask must be True or False; got"
    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    given = (lambda tree: mask) if as_function else mask
    for make in (
        lambda: masked(gradtx.sgd(0.1), given),
        lambda: freeze(gradtx.sgd(0.1), given),
        lambda: gradtx.adamw(0.1, mask=given),
    ):
        with pytest.raises(TypeError, match=message):
            tx = make()
            assert as_function
            tx.init(params)


def test_a_mask_that_depends_on_values_is_refused_under_jit():
    tx = masked(gradtx.sgd(0.1), lambda tree: jax.tree.map(lambda p: p.sum() > 0, tree))
    tx.init(PARAMS)
    with pytest.raises(TypeError, match="every leaf of the mask must be True or False"):
        run(tx)


MASKS = {
    "pattern": "*kernel",
    "tree": jax.tree.map(lambda p: p.ndim > 1, PARAMS),
    "function": lambda tree: jax.tree.map(lambda p: p.ndim > 1, tree),
    "matching": matching("*kernel"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masked_equals_optax(kind):
    with jax.numpy_dtype_promotion("standard"):
        want, _ = run(optax.masked(optax.adam(0.1), MASKS["tree"]))
    close(run(masked(gradtx.adam(0.1), MASKS[kind]))[0], want)


def test_frozen_parameters_hold_no_state_and_never_move():
    tx = freeze(gradtx.adamw(0.1, weight_decay=0.5), "body/*")
    bad = GRADS | {"body": jax.tree.map(lambda p: jnp.nan * p, PARAMS["body"])}
    params, state = run(tx, grads=bad)
    jax.tree.map(np.testing.assert_array_equal, params["body"], PARAMS["body"])
    want, _ = run(gradtx.adamw(0.1, weight_decay=0.5))
    close([params["stem"], params["head"]], [want["stem"], want["head"]])
    assert sum(x.size for x in jax.tree.leaves(state) if x.ndim) == 2 * (6 + 3 + 6)
    close(
        run(gradtx.selective_transform(gradtx.adamw(0.1), freeze_mask="body/*"))[0]["body"],
        PARAMS["body"],
    )


@pytest.mark.parametrize(
    "tx",
    [
        freeze(gradtx.adam(0.1), "bodies/*"),
        freeze("bodies/*"),
        freeze(mask="bodies/*"),
        gradtx.selective_transform(gradtx.adam(0.1), freeze_mask="bodies/*"),
        freeze(gradtx.adam(0.1), matching("bodies/*")),
        masked(gradtx.adam(0.1), "bodies/*"),
        gradtx.adamw(0.1, mask="bodies/*"),
        optax.masked(gradtx.adam(0.1), matching("bodies/*")),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(tx):
    message = r"^\w+: a pattern must match the path .*; got 'bodies/\*'\. The paths: body/"
    with pytest.raises(ValueError, match=message):
        tx.init(PARAMS)
    tx.init({})


def test_what_may_match_nothing():
    none = jax.tree.map(lambda p: False, PARAMS)
    assert matching()(PARAMS) == none
    assert matching(lambda path, leaf: False)(PARAMS) == none
    # The part of a partition has the paths of the others, if it is ours; of Optax's it lacks them.
    tx = masked(gradtx.sgd(1.0), "stem/*")
    want, _ = run(partition({"x": tx, "y": tx}, LABELS))
    with jax.numpy_dtype_promotion("standard"):
        got, _ = run(optax.partition({"x": tx, "y": tx}, LABELS))
    close(got, want)
    rate = by_group(label_by(stem="stem/*", rest="*"), stem=0.1, rest=1.0)
    with jax.numpy_dtype_promotion("standard"):
        got, _ = run(optax.partition({"x": gradtx.sgd(rate), "y": gradtx.sgd(rate)}, LABELS))
    close(got, run(gradtx.sgd(rate))[0])


def test_gradients_of_frozen_parameters_may_be_left_out():
    still = freeze(gradtx.adam(0.1), "body/*")
    bare = GRADS | {"body": jax.tree.map(lambda p: None, PARAMS["body"])}
    updates, _ = still.update(bare, still.init(PARAMS), PARAMS)
    assert jax.tree.leaves(updates["body"]) == []


def test_freeze_with_a_mask_alone_is_optax_s():
    mask = {"stem": True, "body": False, "head": True}
    tx = freeze(mask)
    want, _ = optax.freeze(mask).update(GRADS, optax.freeze(mask).init(PARAMS), PARAMS)
    close(tx.update(GRADS, tx.init(PARAMS), PARAMS)[0], want)
    close(freeze(mask=mask).update(GRADS, tx.init(PARAMS), PARAMS)[0], want)


def test_parts_with_groups_of_their_own():
    """A group's pattern that matches another part's leaves only is no misspelling."""
    rate = by_group(label_by(stem="stem/*", rest="*"), stem=0.1, rest=1.0)
    tx = partition({"x": gradtx.sgd(rate), "y": gradtx.sgd(rate)}, LABELS)
    close(run(tx)[0], run(gradtx.sgd(rate))[0])


def test_describe_says_which_leaf_gets_what():
    decay = by_group(label_by(free=gradtx.norm_or_bias, rest="*"), free=0.0, rest=0.01)
    tx = gradtx.chain(
        gradtx.clip_by_global_norm(1.0),
        freeze(gradtx.adamw(optax.constant_schedule(0.1), weight_decay=decay), "stem/*"),
        optax.identity(),
    )
    rows = {row.path: row for row in describe(tx, PARAMS).rows}
    assert len(rows) == 6 and rows["stem/kernel"].shape == (2, 3)
    assert rows["stem/bias"].transforms[1] == "set_to_zero()"
    assert "add_decayed_weights(weight_decay=0)" in rows["body/bn/scale"].transforms
    kernel = rows["head/kernel"].transforms
    assert kernel[0] == "clip_by_global_norm(max_norm=1)"
    assert "add_decayed_weights(weight_decay=0.01)" in kernel
    assert "scale_by_learning_rate(learning_rate=a schedule)" in kernel
    assert kernel[-1] == "optax.identity"
    text = str(describe(tx, jax.eval_shape(lambda: PARAMS)))
    assert text.count("\n") >= 6 + 3 and "C: " in text and "D: " not in text


def test_describe_names_wrappers():
    tx = gradtx.accumulate(gradtx.skip_if_not_finite(gradtx.sgd(0.1)), 4)
    assert describe(tx, {"w": jnp.ones(1)}).rows[0].transforms == (
        "accumulate(steps=4)",
        "skip_if_not_finite()",
        "scale_by_learning_rate(learning_rate=0.1)",
    )


@pytest.mark.parametrize("mask", [True, False])
def test_a_bare_leaf_is_a_tree_too(mask):
    tx = gradtx.masked(gradtx.add_decayed_weights(0.5), mask)
    params = jnp.ones(2)
    updates, _ = tx.update(jnp.zeros(2), tx.init(params), params)
    assert updates.tolist() == ([0.5, 0.5] if mask else [0.0, 0.0])
