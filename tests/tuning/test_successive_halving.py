"""Who passes a rung, and what new candidates are like: the rule against one in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.loop.improvement import Improvement
from gradtx.tuning import log_uniform, successive_halving
from tests.tuning import population as own

ROUNDS, MEMBERS, ETA, RUNG, RESAMPLE = 12, 6, 2, 1, 0.4
NAN = np.nan


@pytest.fixture(scope="module")
def rule():
    made = successive_halving(
        own.SPACE, members=MEMBERS, metric="m", mode="min", eta=ETA, rung=RUNG, resample=RESAMPLE
    )
    watch = Improvement("test", "m", "min", 0.0)
    return jax.jit(
        lambda lineage, last, live, key: made.rule(made.space, lineage, last, live, key, watch)
    )


def wanted(scores, ages, live, key):
    """Who stays (a parent or -1), whom each is near, and the values."""
    last = len(scores) - 1
    told = [(r, i) for r in range(last + 1) for i in range(MEMBERS)]
    good = lambda r, i: -scores[r][i] if np.isfinite(scores[r][i]) else -np.inf
    stays = []
    for i in range(MEMBERS):
        age = ages[last][i]
        at_rung = age in [RUNG * ETA**k for k in range(10)]
        reached = [(r, j) for r, j in told if ages[r][j] == age]
        before = sum(
            good(r, j) > good(last, i) or (good(r, j) == good(last, i) and (r, j) < (last, i))
            for r, j in reached
        )
        passes = before < max(1, len(reached) // ETA) or not at_rung
        stays.append(bool(np.isfinite(scores[last][i]) and passes))
    best = max((i for i in range(MEMBERS) if stays[i]), key=lambda i: good(last, i), default=None)
    first, *keys = jax.random.split(key, 1 + len(own.LABELS))
    coin = own.uniforms(first, MEMBERS)
    near = [i if stays[i] else -1 for i in range(MEMBERS)]
    values = {label: np.array(live[label], np.float64) for label in own.LABELS}
    for i in (i for i in range(MEMBERS) if not stays[i]):
        anew = coin[i] < RESAMPLE or best is None
        near[i] = -1 if anew else best
        for label, own_key in zip(own.LABELS, keys, strict=True):
            low, high = 0.0, 1.0
            if not anew:
                passed = sum(ages[last][best] >= RUNG * ETA**k for k in range(10))
                centre, length = own.place(label, live[label][best]), float(ETA) ** -int(passed)
                low, high = max(0.0, centre - length / 2), min(1.0, centre + length / 2)
            draw = own.uniforms(own_key, MEMBERS)[i]
            values[label][i] = own.value(label, low + (high - low) * draw)
    return [i if stays[i] else -1 for i in range(MEMBERS)], near, values


@pytest.mark.parametrize("seed", range(2))
def test_the_best_of_each_rung_stay_and_finer_candidates_come(rule, seed):
    """Eleven rounds, with scores that get better with age, ties, and some that are none."""
    rng = np.random.default_rng(seed)
    scores, ages, age = [], [], np.zeros(MEMBERS, int)
    live, dropped, kinds = own.live(MEMBERS, seed), 0, set()
    for r in range(ROUNDS - 1):
        age = age + 1
        score = np.round(rng.normal(size=MEMBERS) - 0.3 * age, 1)
        score[rng.random(MEMBERS) < 0.15] = NAN
        scores.append(score)
        ages.append(age)
        key = jax.random.fold_in(jax.random.key(seed), r)
        lineage = own.lineage_of(scores, ages, rounds=ROUNDS)
        got = rule(lineage, jnp.int32(r), live, key)
        parents, near, values = wanted(scores, ages, live, key)
        assert list(got.parents) == parents and list(got.near) == near
        for label in own.LABELS:
            np.testing.assert_allclose(got.values[label], values[label], rtol=1e-5, atol=1e-7)
        dropped += parents.count(-1)
        kinds |= {(p == -1, n == -1) for p, n in zip(parents, near, strict=True)}
        age = np.where(np.array(parents) == -1, 0, age)
        live = {label: np.asarray(value) for label, value in got.values.items()}
    assert dropped > 10 and kinds == {(False, False), (True, False), (True, True)}


def test_without_any_score_all_begin_anew_from_the_prior(rule):
    lineage = own.lineage_of([[NAN] * MEMBERS], [[1] * MEMBERS], rounds=ROUNDS)
    got = rule(lineage, jnp.int32(0), own.live(MEMBERS), jax.random.key(0))
    assert set(np.asarray(got.parents)) == {-1} == set(np.asarray(got.near))


@pytest.mark.parametrize(
    "said, how",
    [
        (r"`eta` must be at least 2; got 1", {"eta": 1}),
        (r"`rung` must be .*; got 0", {"rung": 0}),
        (r"`resample` must be .*; got 2", {"resample": 2}),
        (r"`mode` must be given for 'accuracy'", {"metric": "accuracy"}),
    ],
)
def test_what_makes_no_search_is_refused(said, how):
    with pytest.raises(ValueError, match=f"successive_halving: {said}"):
        successive_halving({"learning_rate": log_uniform(1e-3, 1)}, **how)
