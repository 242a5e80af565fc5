"""Successive halving with all places busy: the worst are dropped, and finer candidates begin."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from gradtx.kinds import Fraction, Whole, checked
from gradtx.loop.improvement import Improvement
from gradtx.tuning.lineage import ANEW, Lineage
from gradtx.tuning.search import Next, Search, goodness
from gradtx.tuning.space import SearchSpace, Space, Values, as_space

NAME = "successive_halving"


@checked
def successive_halving(
    space: SearchSpace,
    *,
    members: Whole = 8,
    metric: str = "valid_loss",
    mode: str | None = None,
    eta: Whole = 3,
    rung: Whole = 1,
    resample: Fraction = 0.25,
) -> Search:
    """Candidates train side by side; at each rung those that are not among the best 1/eta go.

        rungs:    rung, rung eta, rung eta^2, ... rounds since a candidate was begun
        at one:   of the N candidates that have ever come as far, one continues if fewer than
                  max(1, floor(N / eta)) of them were better there
        its place, if it goes, is a new candidate's, begun anew from the first state, with
                  hyperparameters from the prior, by the probability `resample`; else
                  uniform in [c - l/2, c + l/2], l = eta^-passed, c the best candidate's place in
                  the prior (as a number in [0, 1]), `passed` how many rungs that one has passed

    The rule is that of asynchronous successive halving, where a candidate that is not promoted
    stops. It departs from the paper in three things. The number of members is fixed, as a compiled
    program wants it, so each place is given on at once, and no candidate waits to be promoted
    later. New candidates come, but for the share `resample`, from ever smaller neighbourhoods of
    the best; `resample=1` is the paper's random search. And there is no greatest resource: the last
    rung is that of the search's end.

    Of equal scores the earlier, then the first member's is better. A score that is not finite, or
    is of a fit that a hook has given up, is worse than all others, and its candidate goes at any
    round, but counts in N. All candidates begin with the first state's weights.

    >>> from gradtx.tuning import log_uniform
    >>> successive_halving({"learning_rate": log_uniform(1e-4, 1e-1)}, members=9).kind
    'halving'

    Args:
        space: hyperparameter -> `log_uniform(low, high)`, `uniform(low, high)` or a list of
            numbers; for one that differs between groups also a dict of these by group.
        members: how many train side by side; `eta` or more, or none goes at the first rung.
        metric: a column of the epoch table: train_loss, train_loss_mean, valid_loss or a metric.
        mode: "min" if a better value is smaller, "max" if it is greater; it may be left out for the
            losses.
        eta: one in `eta` candidates passes a rung; at least 2.
        rung: the rounds of the first rung.
        resample: the share of new candidates that is drawn from the prior.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if `space` has other values.

    Source: Li et al. (2018), "Hyperband", section 3 (successive halving, eta); Li et al. (2018), "A
        System for Massively Parallel Hyperparameter Tuning", algorithm 2 (ASHA).
    """
    if eta < 2:
        raise ValueError(f"{NAME}: `eta` must be at least 2; got {eta}. The default is 3.")
    rule = Halving(int(eta), int(rung), float(resample))
    watch = Improvement(NAME, metric, mode, 0.0)
    return Search("halving", as_space(NAME, space), int(members), watch, rule, begins_anew=True)


@dataclass(frozen=True)
class Halving:
    """The rule: who stays at a rung, and who comes for those who go.

    Args:
        eta: one in `eta` candidates passes a rung.
        rung: the rounds of the first rung.
        resample: the share of new candidates that is drawn from the prior.
    """

    eta: int
    rung: int
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
        good = goodness(watch, row.scores, row.counts)
        stays = self._stays(lineage, last, row, good, watch)
        best = jnp.argmax(jnp.where(stays, good, -jnp.inf)).astype(jnp.int32)
        passed = (row.ages[best] >= self._rungs(lineage.rounds)).sum()
        length = jnp.float32(self.eta) ** -passed.astype(jnp.float32)
        keys = jax.random.split(key, 1 + len(live))
        fresh = (jax.random.uniform(keys[0], (n,)) < self.resample) | ~stays.any()
        values = {}
        for each, own in zip(space.dimensions, keys[1:], strict=True):
            now = live[each.label]
            draw, centre = jax.random.uniform(own, (n,)), each.prior.place(now[best])
            low = jnp.where(fresh, 0.0, jnp.maximum(centre - length / 2, 0.0))
            high = jnp.where(fresh, 1.0, jnp.minimum(centre + length / 2, 1.0))
            values[each.label] = jnp.where(stays, now, each.prior.value(low + (high - low) * draw))
        itself = jnp.arange(n, dtype=jnp.int32)
        near = jnp.where(stays, itself, jnp.where(fresh, ANEW, best))
        return Next(jnp.where(stays, itself, ANEW), near, values)

    def _rungs(self, rounds: int) -> jax.Array:
        """The ages of all rungs that a search of so many rounds can reach."""
        found = [self.rung]
        while found[-1] * self.eta <= rounds:
            found.append(found[-1] * self.eta)
        return jnp.asarray(found, jnp.int32)

    def _stays(
        self, lineage: Lineage, last: jax.Array, row: Lineage, good: jax.Array, watch: Improvement
    ) -> jax.Array:
        """bool[n]: whether a member goes on."""
        n, rungs = row.scores.shape[0], self._rungs(lineage.rounds)
        ages = lineage.ages.reshape(-1)
        others = goodness(watch, lineage.scores, lineage.counts).reshape(-1)
        place = jnp.arange(ages.size, dtype=jnp.int32)

        def stays(age: jax.Array, own: jax.Array, here: jax.Array) -> jax.Array:
            reached = (place < (last + 1) * n) & (ages == age)
            better = reached & ((others > own) | ((others == own) & (place < here)))
            most = jnp.maximum(reached.sum() // self.eta, 1)
            return (better.sum() < most) | ~(rungs == age).any()

        return row.counts & jax.vmap(stays)(row.ages, good, last * n + place[:n])
