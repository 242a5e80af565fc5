"""fastai's schedules in float64 (semantics 1.4); positions are exact fractions k / n."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.schedules import curves

LAST = 2**31 - 1


def values(schedule, counts):
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(counts, jnp.int32)))


def sched_cos(start, end):
    return lambda p: start + (1 + math.cos(math.pi * (1 - p))) * (end - start) / 2


def combined(fractions, scheds):
    edges = np.concatenate([[0.0], np.cumsum(np.asarray(fractions, np.float64))])

    def at(pos):
        i = min(max(j for j in range(len(edges)) if pos >= edges[j] - 1e-12), len(scheds) - 1)
        return scheds[i]((pos - edges[i]) / (edges[i + 1] - edges[i]))

    return at


# Each curve, and what it is in float64.
CURVES = {
    "linear": (curves.linear(0.1, 2.0), lambda p: 0.1 + p * 1.9),
    "cosine": (curves.cosine(0.1, 2.0), sched_cos(0.1, 2.0)),
    "constant": (curves.constant(0.3), lambda p: 0.3),
    "exponential": (curves.exponential(1e-7, 10.0), lambda p: 1e-7 * (10 / 1e-7) ** p),
    "polynomial": (curves.polynomial(0.1, 2.0, 3), lambda p: 0.1 + 1.9 * p**3),
}
