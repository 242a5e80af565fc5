"""A search driven from the host, a program a round."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gradtx.core.tree import PyTree
from gradtx.kinds import checked
from gradtx.loop import Loop
from gradtx.loop.jitted import KEPT
from gradtx.loop.likeness import LoopKey
from gradtx.loop.rows import check_order, check_validation
from gradtx.parallel.axes import automatic, on_automatic
from gradtx.tuning.search import Search
from gradtx.tuning.search_round import AXIS, check_round, search_round
from gradtx.tuning.search_state import SearchState


@checked
def run_search(
    search: Search,
    loop: Loop,
    searching: SearchState,
    train: PyTree,
    orders: jax.Array,
    valid: PyTree = None,
    valid_order: jax.Array | None = None,
    *,
    how: str = "map",
    mesh: Mesh | None = None,
    each: Callable[[SearchState], Any] | None = None,
) -> SearchState:
    """Drive a search from the host, a jitted program a round, from where it stands to its end.

    Args:
        search: what is searched for, and how.
        loop: what is trained.
        searching: where the search stands: `begin_search`'s, or one that was saved after a round.
            It stays as it is.
        train: as for `search_round`.
        orders: int32[rounds, steps, B], the orders of all rounds, those done included.
        valid: as for `search_round`.
        valid_order: as for `search_round`.
        how: as for `search_round`.
        mesh: as for `search_round`.
        each: is given the search after each round, to save or to show it; it must not keep it,
            whose buffers go to the next round.

    Raises:
        ValueError: as `search_round`; unless there are as many orders as rounds, of indices that
            the data has.
    """
    if len(orders) != searching.lineage.rounds:
        raise ValueError(
            f"run_search: `orders` must have one for each of the {searching.lineage.rounds} rounds;"
            f" got {len(orders)}. Pass int32[rounds, steps, B]."
        )
    check_round(search, searching, 0, valid, how, mesh)
    check_order("run_search", "orders", orders, train, axes="rounds, steps, B")
    check_validation("run_search", valid, valid_order)
    searching, orders, *data = on_automatic((searching, orders, train, valid, valid_order))
    if mesh is not None:
        searching = jax.device_put(searching, _shardings(searching, mesh))
        data = jax.device_put(data, NamedSharding(automatic(mesh), PartitionSpec()))
    train, valid, valid_order = data
    run = _round_program(search, LoopKey(loop), how, mesh)
    searching = jax.tree.map(jnp.copy, searching)
    for order in orders[int(searching.round) :]:
        searching = run(searching, train, order, valid, valid_order)
        if each is not None:
            each(searching)
    return searching


@lru_cache(maxsize=KEPT)
def _round_program(search: Search, key: LoopKey, how: str, mesh: Mesh | None) -> Any:
    def run(searching: SearchState, *data: Any) -> SearchState:
        done = search_round(search, key.loop, searching, *data, how=how, mesh=mesh)
        if mesh is None:
            return done
        return jax.lax.with_sharding_constraint(done, _shardings(done, mesh))

    return jax.jit(run, donate_argnums=0)


def _shardings(searching: SearchState, mesh: Mesh) -> SearchState:
    """Where the leaves lie: the members' states split over the axis, all else whole."""
    of = lambda spec: (
        lambda tree: jax.tree.map(lambda x: NamedSharding(automatic(mesh), spec), tree)
    )
    split, whole = of(PartitionSpec(AXIS)), of(PartitionSpec())
    return replace(whole(searching), states=split(searching.states), first=split(searching.first))
