"""Who continues from whom, and with what: the rule against one in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.loop.improvement import Improvement
from gradtx.tuning import log_uniform, population_based_training
from gradtx.tuning.population_based_training import replaced_of
from tests.tuning import population as own

FACTORS = (0.5, 1.1, 2.0)


def wanted(scores, live, key, *, mode, fraction, resample):
    """Parents and values, as the paper's rule has them."""
    n = len(scores)
    first, *keys = jax.random.split(key, 1 + len(own.LABELS))
    k = min(max(1, int(np.floor(fraction * n + 0.5))), n // 2) if fraction else 0
    order = own.better_first(scores, mode)
    best = [i for i in order[:k] if np.isfinite(scores[i])]
    worst = set(order[n - k :]) | {i for i in range(n) if not np.isfinite(scores[i])}
    draw = own.uniforms(first, n)
    parents = [best[int(draw[i] * len(best))] if k and best and i in worst else i for i in range(n)]
    values = {}
    for label, own_key in zip(own.LABELS, keys, strict=True):
        coin, place, which = own.uniforms(own_key, 3, n)
        values[label] = np.array([live[label][p] for p in parents], np.float64)
        for i in [i for i in range(n) if parents[i] != i]:
            factor, kept = FACTORS[int(which[i] * len(FACTORS))], values[label][i]
            if coin[i] < resample:
                values[label][i] = own.value(label, place[i])
            elif label == "weight_decay":
                at = int(np.argmin(np.abs(own.CHOICES - kept))) + (1 if factor >= 1 else -1)
                values[label][i] = own.CHOICES[np.clip(at, 0, 2)]
            else:
                low, high = own.value(label, 0), own.value(label, 1)
                values[label][i] = np.clip(kept * factor, low, high)
    return parents, values


@pytest.fixture(scope="module")
def rule():
    """The rule, compiled once for each number of members and settings."""

    def call(scores, ages, key, live, mode, **settings):
        made = population_based_training(
            own.SPACE, members=len(scores), metric="m", mode=mode, factors=FACTORS, **settings
        )
        lineage = own.lineage_of([scores], [ages], rounds=2)
        watch = Improvement("test", "m", mode, 0.0)
        run = lambda lineage, live, key: made.rule(
            made.space, lineage, jnp.int32(0), live, key, watch
        )
        settings = (mode, len(scores), tuple(settings.items()))
        if settings not in programs:
            programs[settings] = jax.jit(run)
        return programs[settings](lineage, live, key)

    programs = {}
    return call


NAN, INF = np.nan, np.inf
SCORES = [
    *np.random.default_rng(0).normal(size=(6, 8)),
    [3, 1, 1, 3, 2, 2, 1, 3],  # ties
    [NAN, 1, NAN, 2, NAN, NAN, NAN, 3],  # fewer good ones than places
    [NAN] * 7 + [5],
    [NAN] * 8,
    [INF, 1, 2, 3, -INF, 4, 5, 6],
]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_worst_continue_from_the_best_with_other_hyperparameters(rule, mode):
    how = {"mode": mode, "fraction": 0.4, "resample": 0.3}
    moved = 0
    for i, scores in enumerate(SCORES):
        key, live = jax.random.key(i), own.live(8, i)
        got = rule(scores, [1] * 8, key, live, **how)
        finite = np.where(np.isfinite(scores), scores, NAN)
        parents, values = wanted(finite, live, key, **how)
        np.testing.assert_array_equal(got.parents, parents, err_msg=str(scores))
        np.testing.assert_array_equal(got.near, parents)
        for label in own.LABELS:
            np.testing.assert_allclose(got.values[label], values[label], rtol=1e-5, atol=1e-7)
            low, high = np.float32(own.value(label, 0)), np.float32(own.value(label, 1))
            assert (got.values[label] >= low).all() and (got.values[label] <= high).all()
        moved += sum(p != i for i, p in enumerate(parents))
    assert moved > 25


def test_who_is_not_replaced_keeps_his_values_to_the_bit(rule):
    live = own.live(8)
    how = {"mode": "min", "fraction": 0.4, "resample": 0.3}
    got = rule(list(range(8)), [1] * 8, jax.random.key(0), live, **how)
    assert list(got.parents[:5]) == [0, 1, 2, 3, 4] and set(np.asarray(got.parents[5:])) <= {
        0,
        1,
        2,
    }
    for label in own.LABELS:
        np.testing.assert_array_equal(got.values[label][:5], live[label][:5])


@pytest.mark.parametrize("scores", [[2.0], [NAN]])
def test_one_member_continues_from_itself(rule, scores):
    live = own.live(1)
    got = rule(scores, [1], jax.random.key(0), live, "min", fraction=0.5, resample=0.5)
    assert list(got.parents) == [0]
    jax.tree.map(np.testing.assert_array_equal, got.values, live)


def test_how_many_are_replaced():
    """A fifth of ten is two, of the paper; never more than half, never none unless asked for."""
    found = {(f, n): replaced_of(f, n) for f in (0, 0.2, 0.5) for n in (1, 2, 3, 5, 10, 11)}
    assert [found[0.2, n] for n in (1, 2, 3, 5, 10, 11)] == [0, 1, 1, 1, 2, 2]
    assert [found[0.5, n] for n in (1, 2, 3, 5, 10, 11)] == [0, 1, 1, 2, 5, 5]
    assert not any(found[0, n] for n in (1, 2, 3, 5, 10, 11))


@pytest.mark.parametrize(
    "said, space, how",
    [
        (r"`fraction` must be at most 1/2, so that .*; got 0.6", {}, {"fraction": 0.6}),
        (r"`factors` must have one at least; got none", {}, {"factors": ()}),
        (r"`factors` must be .*; got \(0.8, -1\)", {}, {"factors": (0.8, -1)}),
        (r"`members` must be .*; got 0", {}, {"members": 0}),
        (r"`mode` must be given for 'accuracy'", {}, {"metric": "accuracy"}),
        (r"`mode` must be \"min\" or \"max\"; got 'up'", {}, {"mode": "up"}),
        (r"`space` must name a hyperparameter; got none", None, {}),
        (r"`space\['b1'\]` must be log_uniform.* or a list of numbers; got 0.5", {"b1": 0.5}, {}),
        (r"`space\['b1'\]` must be .*; got \['x'\]", {"b1": ["x"]}, {}),
        (r"`space\['b1'\]` must be .*A schedule is no such value", {"b1": lambda step: 0.1}, {}),
        (r"`space\['b1'\]` must have finite numbers; got \[nan\]", {"b1": [NAN]}, {}),
        (r"`space\['b1'\]` must be .*; got \[\]", {"b1": []}, {}),
        (r"`space` must have names of hyperparameters and of groups; got 3", {3: [1]}, {}),
    ],
)
def test_what_makes_no_search_is_refused(said, space, how):
    space = {"learning_rate": log_uniform(1e-3, 1)} | space if space is not None else {}
    with pytest.raises((ValueError, TypeError), match=f"population_based_training: {said}"):
        population_based_training(space, **how)


@pytest.mark.parametrize("low, high", [(1, 1), (2, 1), (1e-60, 1e-50), (1, 1e39)])
def test_bounds_are_two_float32_in_order(low, high):
    with pytest.raises(ValueError, match=r"log_uniform: `low` must be below `high`, as float32"):
        log_uniform(low, high)
