"""Which leaf of a checkpoint goes where, if names or shapes are others."""

import re
from collections.abc import Mapping
from typing import Any

import jax

from gradtx.checkpoint.errors import CheckpointError
from gradtx.checkpoint.leaves import Leaves

Names = dict[str, str]  # the name in the state -> that in the checkpoint


def renamed(where: str, saved: Mapping[str, Any], rename: Mapping[str, str]) -> Names:
    """The names of a checkpoint, each changed by the first pattern that it has.

        name' = re.sub(pattern, replacement, name)

    Args:
        where: how the message begins.
        saved: what the checkpoint has, by name.
        rename: pattern -> replacement, as `re.sub` takes them.

    Returns:
        The new name -> the one in the checkpoint.

    Raises:
        CheckpointError: if a pattern fits no name or is none, or two leaves get one name.
    """
    found: Names = {}
    unused = set(rename)
    for old in saved:
        new = old
        for pattern, replacement in rename.items():
            try:
                new, count = re.subn(pattern, replacement, old)
            except re.error as error:
                raise CheckpointError(
                    f"{where}: `rename` must have regular expressions; got {pattern!r} ->"
                    f" {replacement!r}: {error}. Correct it."
                ) from error
            if count:
                unused.discard(pattern)
                break
        if new in found:
            raise CheckpointError(
                f"{where}: `rename` must give each leaf a name of its own; got {new} for"
                f" {found[new]} and {old}. Make the patterns narrower."
            )
        found[new] = old
    if unused:
        some = ", ".join(list(saved)[:3])
        raise CheckpointError(
            f"{where}: each pattern of `rename` must fit a name; got {min(unused)!r}, which fits"
            f" none of {len(saved)} such as {some}. Correct it."
        )
    return found


def fitting(names: Names, saved: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[Names, list]:
    """Of `names` those whose leaf has the shape and dtype of its counterpart; and what is left.

    Args:
        names: the name here -> that in the checkpoint, of all leaves of the checkpoint.
        saved: the specs of the checkpoint, by its names.
        here: the specs of the leaves to restore, by theirs.
    """
    text = lambda spec: f"{spec['dtype']}{spec['shape']}"
    used, left = {}, []
    for name, spec in here.items():
        if name not in names:
            left.append(f"{name} is not in the checkpoint")
        elif text(saved[names[name]]) != text(spec):
            other = text(saved[names[name]])
            left.append(f"{name} is {other} in the checkpoint and {text(spec)} here")
        else:
            used[name] = names[name]
    left += [f"{old} is only in the checkpoint" for new, old in names.items() if new not in here]
    return used, left


def kept(where: str, leaves: Leaves, names: Names) -> Leaves:
    """Copies of the leaves that nothing is restored for.

    Args:
        where: how the message begins.
        leaves: all leaves, by name.
        names: those that are restored.

    Raises:
        CheckpointError: if one has no value.
    """
    rest = {name: leaf for name, leaf in leaves.items() if name not in names}
    if bare := [name for name, leaf in rest.items() if isinstance(leaf, jax.ShapeDtypeStruct)]:
        raise CheckpointError(
            f"{where}: with `partial`, `like` must have values for what is not restored; got a"
            f" shape alone for {bare[0]}. Pass a new state, not its form."
        )
    return {name: leaf.copy() for name, leaf in rest.items()}
