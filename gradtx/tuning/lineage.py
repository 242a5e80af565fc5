"""What a search remembers of its members: who continued from whom, with what, and how well."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.kinds import checked
from gradtx.tuning.space import Values

ANEW = -1  # in the place of a member: none


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["parents", "near", "ages", "steps", "scores", "counts", "values"],
    meta_fields=[],
)
@dataclass(frozen=True)
class Lineage:
    """A row for each round, a column for each member; rounds that are still to come hold zeros.

    Member i of round r continued from member `parents[r, i]` of the round before, trained with the
    hyperparameters `values[...][r, i]`, and reached `scores[r, i]`.

    Args:
        parents: int32[rounds, n], whose state a member continued from; -1: it was begun anew.
        near: int32[rounds, n], whose hyperparameters its own come from; -1: from the prior.
        ages: int32[rounds, n], the rounds that its weights have been trained for.
        steps: int32[rounds], the batches that every member has had in all.
        scores: float32[rounds, n], the metric after the round; 0 where there is none.
        counts: bool[rounds, n], whether there is: it is finite, and no hook gave the fit up.
        values: float32[rounds, n] of each hyperparameter of the space, by label.
    """

    parents: jax.Array
    near: jax.Array
    ages: jax.Array
    steps: jax.Array
    scores: jax.Array
    counts: jax.Array
    values: Values

    @property
    def rounds(self) -> int:
        """How many there are to be."""
        return self.scores.shape[0]

    def row(self, index: Any) -> "Lineage":
        """One round, without the leading axis.

        Args:
            index: int32[], or a whole number.
        """
        return jax.tree.map(lambda x: x[index], self)

    def with_row(self, index: jax.Array, row: "Lineage") -> "Lineage":
        """A copy with one round filled in.

        Args:
            index: int32[].
            row: the round, as `row` gives it.
        """
        return jax.tree.map(lambda x, new: x.at[index].set(new), self, row)


def empty_lineage(labels: Sequence[str], *, rounds: int, members: int) -> Lineage:
    """One without rounds yet.

    Args:
        labels: of the hyperparameters.
        rounds: how many there are to be.
        members: n.
    """
    whole = lambda *shape: jnp.zeros(shape, jnp.int32)
    real = lambda: jnp.zeros((rounds, members), jnp.float32)
    return Lineage(
        parents=whole(rounds, members),
        near=whole(rounds, members),
        ages=whole(rounds, members),
        steps=whole(rounds),
        scores=real(),
        counts=jnp.zeros((rounds, members), bool),
        values={label: real() for label in labels},
    )


class Ancestry(NamedTuple):
    """How one member came to be, a row for each round since its weights were begun."""

    rounds: np.ndarray  # int[k]
    members: np.ndarray  # int[k]: which member of the round it, or its ancestor, was
    scores: np.ndarray  # float32[k], NaN where there is none
    values: dict[str, np.ndarray]  # float32[k]: its hyperparameters, a schedule by rounds


@checked
def ancestry(lineage: Lineage, member: int, *, rounds: int) -> Ancestry:
    """The line of a member, from its beginning on.

        i_(r-1) = parents[r, i_r]        until that is -1

    Its values are the schedule of hyperparameters that the search has found: training one state
    with them, round by round, gives the member again.

    Args:
        lineage: of a search, `searching.lineage`.
        member: of the last round done.
        rounds: how many are done, `int(searching.round)`.

    Raises:
        ValueError: if there is no such member or no round is done.
    """
    done, n = rounds, lineage.scores.shape[1]
    if not (0 <= member < n and 0 < done <= lineage.rounds):
        raise ValueError(
            f"ancestry: `member` must be below {n}, and `rounds` from 1 to {lineage.rounds}; got"
            f" {member} and {rounds}. Choose a member of a round that is done."
        )
    told: Lineage = jax.device_get(lineage)
    line = [member]
    for r in range(done - 1, 0, -1):
        if (parent := int(told.parents[r, line[-1]])) == ANEW:
            break
        line.append(parent)
    members = np.array(line[::-1])
    which = np.arange(done - len(line), done)
    scores = np.where(told.counts, told.scores, np.float32(np.nan))[which, members]
    values = {k: np.asarray(value)[which, members] for k, value in told.values.items()}
    return Ancestry(which, members, scores, values)
