"""One round of a search, and all of them, as pure functions."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import Mesh, PartitionSpec

from gradtx.core.tree import PyTree
from gradtx.kinds import checked
from gradtx.loop import Loop, TrainState, compiled_epoch
from gradtx.loop.compiled import check_how, for_each
from gradtx.loop.rows import check_order
from gradtx.loop.state import is_of_training
from gradtx.parallel.axes import automatic
from gradtx.tuning.lineage import ANEW, Lineage
from gradtx.tuning.search import Next, Search
from gradtx.tuning.search_state import SearchState

AXIS = "members"  # of a mesh, that the members are split over


@checked
def search_round(
    search: Search,
    loop: Loop,
    searching: SearchState,
    train: PyTree,
    order: jax.Array,
    valid: PyTree = None,
    valid_order: jax.Array | None = None,
    *,
    how: str = "map",
    mesh: Mesh | None = None,
) -> SearchState:
    """One round, a pure function: the members are chosen by the last scores, trained and judged.

        parents, values = rule(lineage, key of the round)            in the first: each by itself
        states          = set_hyperparams(states[parents], values)   or the first state, begun anew
        states, row     = compiled_epoch(loop, states, train, order, valid, valid_order)
        scores          = row[metric]

    A round is an epoch of the loop, of as many batches as `order` has. The choice comes first, so
    after a round each score is of the state beside it.

    Args:
        search: what is searched for, and how; static under `jit`.
        loop: what is trained; static under `jit`.
        searching: where the search stands, with a round still to come.
        train: a pytree of arrays with a leading axis of examples.
        order: int32[steps, B], rows of indices into `train`, the same for all members.
        valid: the validation set, a pytree like `train`, or None.
        valid_order: int32[valid_steps, B], rows of indices into `valid`, or None with it.
        how: "map" trains the members one after another, "vmap" side by side, as in `population`.
        mesh: one with an axis "members", over which they are split; each device trains its own, as
            `how` says. None: all on one device.

    Raises:
        ValueError: as `compiled_epoch`; if `searching` is of another search or at its end, if `how`
            is neither, if the metric needs validation, or if the mesh has no such axis or one that
            does not divide the members.
    """
    check_round(search, searching, 1, valid, how, mesh)
    lineage, begun = searching.lineage, searching.round > 0
    states, chosen = searching.states, _chosen(search, searching)
    last = jnp.maximum(searching.round - 1, 0)
    states = _taken(states, searching.first, chosen.parents)
    states = states.replace(opt_state=search.space.write(states.opt_state, chosen.values))

    def trained(states: TrainState, *data: Any) -> tuple[TrainState, dict[str, Any]]:
        def run(state: TrainState) -> tuple[TrainState, dict[str, Any]]:
            state, _, row = compiled_epoch(loop, state, *data)
            return state, row

        return for_each(run, states, how=how)

    if mesh is not None:
        split, whole = PartitionSpec(AXIS), PartitionSpec()
        specs = {"in_specs": (split, *[whole] * 4), "out_specs": split}
        trained = jax.shard_map(trained, mesh=automatic(mesh), check_vma=False, **specs)
    states, row = trained(states, train, order, valid, valid_order)
    metric = search.watch.metric
    scores = row[metric].astype(jnp.float32)
    counts = row["known"][metric] & jnp.isfinite(scores) & ~loop.failed(states)
    before = lineage.row(last)
    ages = jnp.where(chosen.parents == ANEW, 0, before.ages[jnp.maximum(chosen.parents, 0)])
    done = Lineage(
        parents=chosen.parents,
        near=chosen.near,
        ages=jnp.where(begun, ages, 0) + 1,
        steps=jnp.where(begun, before.steps, 0) + order.shape[0],
        scores=jnp.where(counts, scores, 0.0),
        counts=counts,
        values=chosen.values,
    )
    lineage = lineage.with_row(searching.round, done)
    return replace(searching, states=states, round=searching.round + 1, lineage=lineage)


def check_round(
    search: Search, searching: SearchState, more: int, valid: Any, how: str, mesh: Mesh | None
) -> None:
    """Find out what can't be, before anything is traced.

    Args:
        search: what is searched for, and how.
        searching: where the search stands.
        more: how many rounds are to come now.
        valid: the validation set, or None.
        how: as for `search_round`.
        mesh: as for `search_round`.

    Raises:
        ValueError: as `search_round`.
    """
    where, metric, n = search.watch.where, search.watch.metric, search.members
    lineage = searching.lineage
    labels, shape = set(lineage.values), lineage.scores.shape
    if shape[1] != n or labels != set(search.space.labels):
        raise ValueError(
            f"search_round: `searching` must be one of this search, of {n} members and"
            f" {sorted(search.space.labels)}; got {shape[1]} and {sorted(labels)}. Pass what"
            " begin_search has made of it."
        )
    done = 0 if isinstance(searching.round, Tracer) else int(searching.round)
    if done + more > lineage.rounds:
        raise ValueError(
            f"search_round: `searching` must have rounds to come; got {done} done of"
            f" {lineage.rounds}, and {more} more. Begin a search of more rounds."
        )
    check_how("search_round", how)
    if not is_of_training(metric) and valid is None:
        raise ValueError(
            f"{where}: the metric {metric!r} needs validation; got no `valid`. Pass it, or let"
            " `metric` be 'train_loss'."
        )
    if mesh is not None and (AXIS not in mesh.shape or n % mesh.shape[AXIS]):
        raise ValueError(
            f"search_round: `mesh` must have an axis {AXIS!r} that divides the {n} members; got"
            f" {dict(mesh.shape)}. Make it by jax.make_mesh((devices,), ({AXIS!r},))."
        )


def _chosen(search: Search, searching: SearchState) -> Next:
    """How the members of the coming round begin."""
    n, space = search.members, search.space
    key = jax.random.fold_in(searching.key, searching.round)
    begun, last = searching.round > 0, jnp.maximum(searching.round - 1, 0)
    live = space.read(searching.states.opt_state)
    later = search.rule(space, searching.lineage, last, live, key, search.watch)
    itself, nobody = jnp.arange(n, dtype=jnp.int32), jnp.full((n,), ANEW, jnp.int32)
    first = Next(nobody if search.begins_anew else itself, nobody, space.draw(key, n))
    return jax.tree.map(lambda a, b: jnp.where(begun, a, b), later, first)


def _taken(states: TrainState, first: TrainState | None, parents: jax.Array) -> TrainState:
    """The states that members begin a round with: a parent's, or the first; keys stay in place."""
    taken = jax.tree.map(lambda x: x[jnp.maximum(parents, 0)], states)
    if first is not None:
        anew = lambda x: (parents == ANEW).reshape((-1,) + (1,) * (x.ndim - 1))
        taken = jax.tree.map(lambda a, b: jnp.where(anew(a), a, b), first, taken)
    return taken.replace(key=states.key)


@checked
def compiled_search(
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
) -> SearchState:
    """All rounds that are still to come as one pure function, for `jit`.

        searching = fold(search_round, orders, searching)

    Args:
        search: what is searched for, and how; static under `jit`.
        loop: what is trained; static under `jit`.
        searching: where the search stands.
        train: as for `search_round`.
        orders: int32[rounds, steps, B], an order for each round to come.
        valid: as for `search_round`.
        valid_order: as for `search_round`.
        how: as for `search_round`.
        mesh: as for `search_round`.

    Raises:
        ValueError: as `search_round`.
    """

    check_round(search, searching, len(orders), valid, how, mesh)
    check_order("compiled_search", "orders", orders, train, axes="rounds, steps, B")

    def one(searching: SearchState, order: jax.Array) -> tuple[SearchState, None]:
        data = train, order, valid, valid_order
        return search_round(search, loop, searching, *data, how=how, mesh=mesh), None

    return jax.lax.scan(one, searching, orders)[0]
