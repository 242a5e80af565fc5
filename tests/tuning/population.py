"""What the tests of searches share: a space, scores, and the rules in plain NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.tuning.lineage import empty_lineage
from gradtx.tuning.space import as_space, log_uniform, uniform

SPACE = {
    "learning_rate": log_uniform(1e-3, 1.0),
    "b1": uniform(0.1, 0.95),
    "weight_decay": [0, 0.01, 0.1],
}
LABELS = tuple(SPACE)
CHOICES = np.float32([0, 0.01, 0.1])


def lineage_of(scores, ages, *, rounds, labels=LABELS):
    """A lineage whose first rounds have these scores (NaN: none) and ages, [done, n]."""
    scores, ages = np.asarray(scores, np.float32), np.asarray(ages, np.int32)
    done, members = scores.shape
    lineage = empty_lineage(labels, rounds=rounds, members=members)
    for r in range(done):
        row = lineage.row(r)
        counts = np.isfinite(scores[r])
        filled = {"scores": jnp.where(counts, scores[r], 0.0), "counts": jnp.asarray(counts)}
        filled["ages"] = jnp.asarray(ages[r])
        lineage = lineage.with_row(jnp.int32(r), row.__class__(**{**vars(row), **filled}))
    return lineage


def live(n, seed=0):
    """Values of n members, float32."""
    rng = np.random.default_rng(seed)
    return {
        "learning_rate": (10 ** rng.uniform(-3, 0, n)).astype(np.float32),
        "b1": rng.uniform(0.1, 0.95, n).astype(np.float32),
        "weight_decay": CHOICES[rng.integers(0, 3, n)],
    }


def space():
    return as_space("test", SPACE)


def value(label, place):
    """The value of a prior at a place in [0, 1], in float64."""
    if label == "learning_rate":
        return np.clip(10 ** (-3 + 3 * place), 1e-3, 1.0)
    if label == "b1":
        return np.clip(0.1 + 0.85 * place, 0.1, 0.95)
    return np.float64(CHOICES[min(math.floor(3 * place), 2)])


def place(label, value):
    """The place of a value."""
    if label == "learning_rate":
        return (math.log10(value) + 3) / 3
    if label == "b1":
        return (value - 0.1) / 0.85
    return (int(np.argmin(np.abs(CHOICES - value))) + 0.5) / 3


def uniforms(key, *shape):
    return np.asarray(jax.random.uniform(key, shape), np.float64)


def better_first(scores, mode):
    """Members from the best on; those without a score last, equal ones in their order."""
    keys = [(math.inf if math.isnan(s) else (s if mode == "min" else -s)) for s in scores]
    return sorted(range(len(scores)), key=lambda i: keys[i])  # Python's sort is stable
