"""A search under way: a population and its lineage."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.kinds import Whole, checked
from gradtx.loop import Loop, TrainState
from gradtx.loop.phases import open_fit
from gradtx.loop.seed import key_of
from gradtx.tuning.lineage import Lineage, empty_lineage
from gradtx.tuning.search import Search


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["states", "first", "key", "round", "lineage"],
    meta_fields=[],
)
@dataclass(frozen=True)
class SearchState:
    """All that a search remembers: to stop and go on later, save it.

        searching' = search_round(search, loop, searching, train, order, valid, valid_order)

    Args:
        states: the members' states, of fits that are open, with a leading axis [n].
        first: the states that members are begun anew from, [n]; None if none ever is.
        key: key[], of the search's own random numbers; those of round r are of fold_in(key, r).
        round: int32[], how many rounds are done.
        lineage: of the rounds.
    """

    states: TrainState
    first: TrainState | None
    key: jax.Array
    round: jax.Array
    lineage: Lineage


@checked
def begin_search(
    search: Search, loop: Loop, state: TrainState, *, rounds: Whole, seed: int | Any = 0
) -> SearchState:
    """A search before its first round: the members, with hyperparameters from the prior.

    Args:
        search: what is searched for, and how.
        loop: what is trained.
        state: one outside any fit, of which all members begin as copies, as in `sweep`; or one for
            each member, along a leading axis, such as of `jax.vmap` over `loop.init` and seeds.
        rounds: how many there are to be.
        seed: of what the search draws, an integer of 64 bits or a typed key.

    Raises:
        ValueError: if the space has a hyperparameter that the optimizer lacks, that a schedule
            decides or that can't take its values; if there is no such metric; if there are not as
            many states as members; or if `seed` is an integer of more than 64 bits.
        TypeError: if `seed` is neither an integer nor a typed key.
    """
    where, n = search.watch.where, search.members
    each = jnp.ndim(state.step) == 1
    if each and state.step.shape != (n,):
        raise ValueError(
            f"{where}: a state with a leading axis must have one of each member, {n}; got"
            f" {state.step.shape[0]}. Pass one state, or {n}."
        )
    one = jax.tree.map(lambda x: x[0], state) if each else state
    search.watch.check(one)
    search.space.check(where, one)
    states = state if each else jax.tree.map(lambda x: jnp.stack([x] * n), state)
    states = jax.vmap(partial(open_fit, loop))(states)
    return SearchState(
        states=states,
        first=states if search.begins_anew else None,
        key=key_of(where, seed),
        round=jnp.zeros((), jnp.int32),
        lineage=empty_lineage(search.space.labels, rounds=rounds, members=n),
    )
