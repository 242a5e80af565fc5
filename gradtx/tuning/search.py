"""A search as a value: what it chooses from, how it judges, and by which rule it goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradtx.loop.improvement import Improvement
from gradtx.tuning.lineage import Lineage
from gradtx.tuning.space import Space, Values


class Next(NamedTuple):
    """How the members of a round begin it."""

    parents: jax.Array  # int32[n]: whose state each takes over; -1: it begins anew
    near: jax.Array  # int32[n]: whose hyperparameters its own come from; -1: the prior
    values: Values  # its hyperparameters


class Ranked(NamedTuple):
    """The members of a round by their scores."""

    goodness: jax.Array  # float32[n]: the score, or its negative, so that more is better
    order: jax.Array  # int32[n]: members from the best on; of equal ones the first is better
    rank: jax.Array  # int32[n]: the place of each member in `order`


# The rule: what the last round was, the live values, a key, the whole lineage -> the next round.
Rule = Callable[[Space, Lineage, jax.Array, Values, jax.Array, Improvement], Next]


@dataclass(frozen=True)
class Search:
    """How members are chosen; `population_based_training` and `successive_halving` make it.

    Two that are equal share their compiled programs.

    Args:
        kind: "pbt" or "halving".
        space: of the hyperparameters.
        members: how many train side by side.
        watch: the metric, and whether less of it is better.
        rule: function (space, lineage, round, live values, key, watch) -> `Next`.
        begins_anew: whether it ever begins members anew, for which the first state is kept.
    """

    kind: str
    space: Space
    members: int
    watch: Improvement
    rule: Rule
    begins_anew: bool


def goodness(watch: Improvement, scores: jax.Array, counts: jax.Array) -> jax.Array:
    """Scores so that more is better; -infinity where there is none.

    Args:
        watch: says which way is better.
        scores: float32[...].
        counts: bool[...], whether there is one.
    """
    return jnp.where(counts, scores if watch.mode == "max" else -scores, -jnp.inf)


def ranked(watch: Improvement, row: Lineage) -> Ranked:
    """The members of a round in their order.

    Args:
        watch: says which way is better.
        row: the round.
    """
    good = goodness(watch, row.scores, row.counts)
    order = jnp.argsort(good, descending=True, stable=True).astype(jnp.int32)
    rank = jnp.argsort(order).astype(jnp.int32)
    return Ranked(good, order, rank)
