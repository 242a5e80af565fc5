"""Restoring a checkpoint: the newest that is intact, into a state of the same form."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.checkpoint.digests import array_digest, check_files
from gradtx.checkpoint.errors import CheckpointError
from gradtx.checkpoint.layout import Entry, entries
from gradtx.checkpoint.leaves import (
    Leaves,
    as_leaf,
    check_same,
    form_of,
    host_values,
    leaves_of,
    read_target,
    with_leaves,
)
from gradtx.checkpoint.matching import Names, fitting, kept, renamed
from gradtx.checkpoint.meta import FILE, Meta, check_must_match, read_meta
from gradtx.checkpoint.orbax import orbax_version, read
from gradtx.files import as_path
from gradtx.kinds import checked
from gradtx.loop.evaluation import EVALUATION
from gradtx.sealed import Damaged

PARAMS = ("params", "model_state")
EVALUATED = f"hooks/{EVALUATION}"
CARRY = ("model_state", "carry")


@dataclass(frozen=True)
class Restored:
    """What was restored, and from where.

    Args:
        state: the state, in the structure of what it was restored into; with `params_only` a dict
            of `params` and `model_state`.
        path: the directory of the checkpoint.
        meta: what the checkpoint holds beside the arrays.
        damaged: a line for each newer checkpoint that could not be used.
        left: with `partial`, a line for each leaf, of the state or of the checkpoint, that nothing
            was restored for or from.
    """

    state: Any
    path: Path
    meta: Meta
    damaged: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@checked
def restore(
    directory: str | Path,
    like: Any,
    *,
    must_match: Mapping[Any, Any] | None = None,
    params_only: bool = False,
    evaluated: bool = False,
    partial: bool = False,
    rename: Mapping[str, str] | None = None,
) -> Restored:
    """Restore the newest intact checkpoint of `directory`, in the structure of `like`.

    Each leaf has the shape, the dtype and the sharding of its counterpart in `like`, so a
    checkpoint of one mesh is restored onto another. Every file and every leaf is checked against
    the digests that were saved with it; `damaged` of the result tells of newer checkpoints that
    were passed over.

    With `params_only` a dict of `params` and `model_state` is restored, and
    `loop.init(**restored.state)` begins a new fit with them. The collection "carry" of
    `model_state`, which a recurrent model takes from one batch to the next and which depends on
    their size, is neither compared nor restored: it is a copy of `like`'s, or zero where that has
    no values.

    Args:
        directory: the directory of checkpoints.
        like: a state of the same form: arrays, or `jax.ShapeDtypeStruct`s, with a sharding or
            without.
        must_match: values, nested dicts for JSON, that must be those which the checkpoint was
            saved with; None compares nothing.
        params_only: restore the parameters and the model state of a `TrainState` alone, whatever
            `must_match` says.
        evaluated: with `params_only`, as `params` those at which the run is evaluated, if that is
            elsewhere: those of `gradtx.loop.Loop(eval_params=...)` in the state that was saved.
        partial: restore what fits: a leaf that the checkpoint does not have, or in another shape or
            dtype, is a copy of that of `like`. `left` of the result lists them.
        rename: patterns of names in the checkpoint, as "params/kernel", and what stands in their
            place, as `re.sub` takes them: {"^params/backbone/": "params/"}. A name is changed by
            the first pattern that it has.

    Raises:
        CheckpointError: if no checkpoint is intact, or if it does not fit `like` or `must_match`;
            the message names what differs.
    """
    directory = as_path(directory)
    entry, meta, damaged = newest_intact(directory)
    where = f"checkpoint: {entry.path(directory)}"
    if must_match is not None and not params_only:
        check_must_match(where, meta.must_match, must_match)
    if params_only:
        like = {name: getattr(like, name) for name in PARAMS}
    saved, form, leaves = meta.kinds | meta.leaves, form_of(like), leaves_of(like)
    carry = {}
    if params_only:
        carry = {name: _initial_carry(leaf) for name, leaf in leaves.items() if _is_carry(name)}
        saved, form, leaves = _only(saved), _only(form), _only(leaves)
    names = renamed(where, saved, rename or {})
    left = []
    if partial:
        names = {new: old for new, old in names.items() if old in meta.leaves}
        here = {name: form[name] for name in leaves}
        names, left = fitting(names, saved, here)
        carry |= kept(where, leaves, names)
        leaves = {name: leaves[name] for name in names}
    else:
        saved = {new: saved[old] for new, old in names.items()}
        check_same(where, saved, form, remedy=_remedy(saved, form, params_only))
    names = {name: names[name] for name in leaves}
    sources = _sources(meta, names, evaluated=evaluated and params_only)
    found = {sources[name]: leaf for name, leaf in leaves.items()}
    found = _read(where, entry.path(directory), meta, found)
    values = carry | {name: found[source] for name, source in sources.items()}
    state = with_leaves(like, values)
    return Restored(state, entry.path(directory), meta, damaged, tuple(left))


@checked
def newest_intact(directory: str | Path) -> tuple[Entry, Meta, tuple[str, ...]]:
    """The newest checkpoint whose files are as they were saved, and what is wrong with newer ones.

    With several processes the first one looks, and all use what it has found.

    Args:
        directory: the directory of checkpoints.

    Raises:
        CheckpointError: if there is none.
    """
    directory = as_path(directory)
    damaged: list[str] = []
    first = jax.process_index() == 0
    found = None
    for entry in reversed(entries(directory) if first else []):
        try:
            meta = _verified(entry.path(directory))
        except Damaged as problem:
            damaged.append(f"{entry.path(directory)} is damaged ({problem})")
        else:
            found = entry, meta
            break
    if jax.process_count() > 1:
        entry = _broadcast(found[0] if found else Entry(0, 0))
        found = (entry, read_meta(entry.path(directory))) if entry.number else None
    if found is None:
        have = "; ".join(damaged) if damaged else "none"
        raise CheckpointError(
            f"checkpoint: {directory} must have an intact checkpoint; got {have}. Begin anew, or"
            " name another directory."
        )
    return *found, tuple(damaged)


def _verified(path: Path) -> Meta:
    meta = read_meta(path)
    check_files(path, meta.files, but=(FILE,))
    return meta


def _broadcast(entry: Entry) -> Entry:
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return Entry(*map(int, broadcast_one_to_all(np.array(entry, np.int32))))


def _read(where: str, path: Path, meta: Meta, leaves: Leaves) -> Leaves:
    """The values of `leaves`, read by Orbax and checked against their digests."""
    saved, wrote = meta.leaves, meta.wrote["orbax"]
    targets = {name: read_target(leaf) for name, leaf in leaves.items()}
    try:
        arrays = read(path / "state", {name: x for name, x in targets.items() if x.size})
    except Exception as error:
        raise CheckpointError(
            f"{where} must be readable by Orbax {orbax_version()}; got {str(error)[:200]!r}. Its"
            f" files are intact: read it with Orbax {wrote}."
        ) from error
    values = {}
    for name, like in leaves.items():
        array = (
            arrays[name] if name in arrays else np.zeros(targets[name].shape, targets[name].dtype)
        )
        held = host_values(array) if saved[name]["digest"] else None
        if held is not None and array_digest(held) != saved[name]["digest"]:
            raise CheckpointError(
                f"{where}: {name} must be read as it was saved; got other values from intact files."
                " Check this machine's memory, and the version of Orbax."
            )
        values[name] = as_leaf(array, like, saved[name].get("impl"))
    return values


def _sources(meta: Meta, names: Names, *, evaluated: bool) -> Names:
    """The name in the checkpoint for each of the leaves, the evaluated one if it is asked for."""
    moved = {
        name: f"{EVALUATED}{old.removeprefix(PARAMS[0])}"
        for name, old in names.items()
        if old.split("/")[0] == PARAMS[0]
    }
    use = evaluated and meta.leaves.keys() >= {*moved.values()}
    return names | moved if use else names


def _only(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """What `params_only` restores of all that there is."""
    wanted = lambda name: name.split("/")[0] in PARAMS and not _is_carry(name)
    return {name: x for name, x in leaves.items() if wanted(name)}


def _is_carry(name: str) -> bool:
    return tuple(name.split("/")[:2]) == CARRY


def _initial_carry(leaf: Any) -> Any:
    """A leaf of a new fit's carry; its own, since those of a state may be donated."""
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding)
    return leaf.copy()


def _remedy(saved: Mapping[str, Any], form: Mapping[str, Any], params_only: bool) -> str:
    """What to do if they differ: parameters alone help if these at least fit."""
    if params_only:
        return "Build the model as it was when that was saved."
    try:
        check_same("", _only(saved), _only(form), remedy="")
    except CheckpointError:
        return "Build the model and the optimizer as they were when it was saved."
    return (
        "Build the optimizer, the hooks and the batches as they were when it was saved, or begin"
        " anew from its parameters alone (params_only, --params-only)."
    )
