"""Population-based training: the worst take over the best's state, and perturb its settings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import Fraction, Positive, Whole, checked
from gradtx.loop.improvement import Improvement
from gradtx.tuning.lineage import Lineage
from gradtx.tuning.search import Next, Search, ranked
from gradtx.tuning.space import SearchSpace, Space, Values, as_space

NAME = "population_based_training"


@checked
def population_based_training(
    space: SearchSpace,
    *,
    members: Whole = 8,
    metric: str = "valid_loss",
    mode: str | None = None,
    fraction: Fraction = 0.2,
    factors: Sequence[Positive] = (0.8, 1.2),
    resample: Fraction = 0.25,
) -> Search:
    """Members train side by side; after each round the worst continue from the best.

        k = round(fraction n), at least 1 and at most n / 2            n = members
        exploit:  the k worst, and all without a score, take over the state of one of the k best,
                  each drawn uniformly: parameters, optimizer, hooks, all but the random key
        explore:  each of their hyperparameters is, with the probability `resample`, drawn from the
                  prior anew, else clip(factor x the parent's, low, high), the factor drawn
                  uniformly; in a list it is the parent's neighbour, up for a factor of at least 1

    This is truncation selection with perturbation or resampling, after every round and in step, not
    when a member is ready. Of equal scores the first member's is better. A score that is not
    finite, or is of a fit that a hook has given up, is the worst; if there is no other, all
    continue from themselves. `fraction=0` selects nothing: that is a random search.

    >>> from gradtx.tuning import log_uniform
    >>> rates = {"learning_rate": log_uniform(1e-4, 1e-1), "weight_decay": [0, 0.01, 0.1]}
    >>> population_based_training(rates, members=4).space.labels
    ('learning_rate', 'weight_decay')

    Args:
        space: hyperparameter -> `log_uniform(low, high)`, `uniform(low, high)` or a list of
            numbers; for one that differs between groups also a dict of these by group.
        members: how many train side by side.
        metric: a column of the epoch table: train_loss, train_loss_mean, valid_loss or a metric.
        mode: "min" if a better value is smaller, "max" if it is greater; it may be left out for the
            losses.
        fraction: of the members that are replaced, at most 1/2.
        factors: what hyperparameters are multiplied by, one or more positive numbers.
        resample: the probability that one is drawn anew instead.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `space` has other values.

    Source: Jaderberg et al. (2017), "Population Based Training of Neural Networks", sections 3 and
        4.1.1 (truncation selection; perturb, resample).
    """
    if fraction > 0.5:
        raise ValueError(
            f"{NAME}: `fraction` must be at most 1/2, so that none of the best is replaced; got"
            f" {fraction}. The default is 0.2."
        )
    if not len(factors):
        raise ValueError(f"{NAME}: `factors` must have one at least; got none. Pass (0.8, 1.2).")
    rule = Truncation(float(fraction), tuple(map(float, factors)), float(resample))
    watch = Improvement(NAME, metric, mode, 0.0)
    return Search("pbt", as_space(NAME, space), int(members), watch, rule, begins_anew=False)


@dataclass(frozen=True)
class Truncation:
    """The rule: truncation selection, then perturbation.

    Args:
        fraction: of the members that are replaced.
        factors: what hyperparameters are multiplied by.
        resample: the probability that one is drawn anew instead.
    """

    fraction: float
    factors: tuple[float, ...]
    resample: float

    def __call__(
        self,
        space: Space,
        lineage: Lineage,
        last: jax.Array,
        live: Values,
        key: jax.Array,
        watch: Improvement,
    ) -> Next:
        """How the round after `last` begins.

        Args:
            space: of the hyperparameters.
            lineage: of the rounds so far.
            last: int32[], the round that was done last.
            live: the hyperparameters that the members have now.
            key: of the random numbers.
            watch: says which way is better.
        """
        row = lineage.row(last)
        n = row.scores.shape[0]
        first, *keys = jax.random.split(key, 1 + len(space.dimensions))
        itself = parents = jnp.arange(n, dtype=jnp.int32)
        if k := replaced_of(self.fraction, n):
            places, best = ranked(watch, row), jnp.minimum(k, row.counts.sum(dtype=jnp.int32))
            draw = _whole(jax.random.uniform(first, (n,)), best)
            worst = (places.rank >= n - k) | ~row.counts
            parents = jnp.where(worst & (best > 0), places.order[draw], itself)
        values = {}
        for each, own in zip(space.dimensions, keys, strict=True):
            kept = live[each.label][parents]
            coin, place, which = jax.random.uniform(own, (3, n))
            factor = jnp.asarray(self.factors, jnp.float32)[_whole(which, len(self.factors))]
            moved = each.prior.moved(kept, factor)
            other = jnp.where(coin < self.resample, each.prior.value(place), moved)
            values[each.label] = jnp.where(parents == itself, kept, other)
        return Next(parents, parents, values)


def _whole(draw: jax.Array, below: Any) -> jax.Array:
    """Whole numbers below `below` (at least 0) from numbers in [0, 1)."""
    index = jnp.floor(draw * jnp.asarray(below, draw.dtype)).astype(jnp.int32)
    return jnp.clip(index, 0, jnp.maximum(below - 1, 0))


def replaced_of(fraction: float, members: int) -> int:
    """How many members a round replaces if all have scores.

        k = round(fraction n), at least 1 and at most n / 2; 0 for a fraction of 0

    >>> [replaced_of(0.2, n) for n in (1, 2, 4, 10, 32)]
    [0, 1, 1, 2, 6]

    Args:
        fraction: of the members.
        members: n.
    """
    return min(max(1, math.floor(fraction * members + 0.5)), members // 2) if fraction else 0
