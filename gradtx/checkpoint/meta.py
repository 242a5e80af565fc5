"""What a checkpoint says of itself, as JSON with a digest of its own."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gradtx.checkpoint.errors import CheckpointError
from gradtx.files import write_atomically
from gradtx.sealed import Damaged, canonical, parse_object, read_text, text_digest

VERSION = 1
FILE = "meta.json"


@dataclass(frozen=True)
class Meta:
    """All of a checkpoint but its arrays: what its meta.json holds.

    Args:
        version: of the layout of a checkpoint.
        step: the number of steps done.
        must_match: what a restore compares, such as the configuration and the data, as JSON has it.
        rows: the epoch table so far, a dict by column for each epoch.
        score: how good the epoch that ended here is, greater being better; None for no epoch.
        kinds: path of a container -> the name of its transformation or class.
        leaves: path of a leaf -> its "shape", "dtype" and "digest", of a typed key also "impl".
        files: path of a file -> its "size" in bytes and "digest".
        wrote: the versions of "gradtx", "jax" and "orbax" that wrote it.
    """

    version: int
    step: int
    must_match: dict[str, Any]
    rows: list[dict[str, Any]]
    score: float | None
    kinds: dict[str, str]
    leaves: dict[str, dict[str, Any]]
    files: dict[str, dict[str, Any]]
    wrote: dict[str, str]


def write_meta(directory: Path, meta: Meta) -> None:
    """Write `meta` into a checkpoint's directory."""
    body = canonical(asdict(meta))
    write_atomically(directory / FILE, f'{{"digest":"{text_digest(body)}",\n"meta":{body}}}\n')


def read_meta(directory: Path) -> Meta:
    """Read it back.

    Raises:
        Damaged: if it is not what was written.
        CheckpointError: if the layout is of another version.
    """
    if not os.path.lexists(directory / FILE):
        raise Damaged(f"{FILE} is missing")
    try:
        data = parse_object(read_text(directory / FILE))
    except Damaged as damage:
        raise Damaged(f"{FILE} is no JSON of a checkpoint, but {damage}") from damage
    body, digest = data.get("meta"), data.get("digest")
    if not isinstance(body, dict) or digest is None:
        raise Damaged(f"{FILE} is no JSON of a checkpoint")
    if text_digest(canonical(body)) != digest:
        raise Damaged(f"{FILE} was altered")
    if body.get("version") != VERSION:
        raise CheckpointError(
            f"checkpoint: {directory} must have layout version {VERSION}; got"
            f" {body.get('version')}. Read it with the gradtx that wrote it"
            f" ({body.get('wrote', {}).get('gradtx', 'unknown')})."
        )
    return Meta(**{field.name: body[field.name] for field in fields(Meta)})


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` as they are when read back from JSON; what JSON lacks becomes text.

    Raises:
        ValueError: for what can't even become that.
    """
    try:
        return json.loads(json.dumps(dict(values), default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"checkpoint: `must_match` must be nested dicts for JSON; got {error}. Use keys of"
            " text, and numbers, text and lists."
        ) from error


def check_must_match(where: str, saved: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Require that this run's values are those that a checkpoint was saved with.

    Raises:
        CheckpointError: naming those that differ.
    """
    saved, here = flat(saved), flat(as_json(here))
    missing = "(none)"
    differ = [
        f"{name} was {saved.get(name, missing)} and is {here.get(name, missing)}"
        for name in [*here, *(name for name in saved if name not in here)]
        if not _is_equal(saved.get(name, missing), here.get(name, missing))
    ]
    if differ:
        raise CheckpointError(
            f"{where} must be of the same configuration and data; got: {'; '.join(differ)}. Go on"
            " with those that it was saved with, or begin anew from its parameters alone"
            " (params_only, --params-only)."
        )


def _is_equal(a: Any, b: Any) -> bool:
    return a == b or (a != a and b != b)  # NaN


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    out: dict[str, Any] = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        out |= flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return out
