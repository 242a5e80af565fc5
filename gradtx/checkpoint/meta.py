"""What a checkpoint says of itself, as JSON with a digest of its own."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gradtx.checkpoint.digests import text_digest
from gradtx.checkpoint.errors import CheckpointError, Damaged
from gradtx.files import write_atomically

VERSION = 1
FILE = "meta.json"


@dataclass(frozen=True)
class Meta:
    """All of a checkpoint but its arrays."""

    version: int  # of the layout
    step: int
    facts: dict[str, Any]  # what decides a run: its configuration, its data
    rows: list[dict[str, float]]  # of the epoch table so far
    score: float | None  # how good the epoch that ended here is; greater is better
    kinds: dict[str, str]  # path of a container -> its transformation or class
    leaves: dict[str, dict[str, Any]]  # path -> shape, dtype, digest
    files: dict[str, dict[str, Any]]  # path -> size, digest
    wrote: dict[str, str]  # versions of what wrote it


def write_meta(directory: Path, meta: Meta) -> None:
    """Write `meta` into a checkpoint's directory."""
    body = _canonical(asdict(meta))
    write_atomically(directory / FILE, f'{{"digest":"{text_digest(body)}",\n"meta":{body}}}\n')


def read_meta(directory: Path) -> Meta:
    """Read it back.

    Raises:
        Damaged: if it is not what was written.
        CheckpointError: if the layout is of another version.
    """
    try:
        data = json.loads((directory / FILE).read_text())
        body = data["meta"]
        intact = text_digest(_canonical(body)) == data["digest"]
    except FileNotFoundError:
        raise Damaged(f"{FILE} is missing") from None
    except (ValueError, TypeError, LookupError):
        raise Damaged(f"{FILE} is no JSON of a checkpoint") from None
    if not intact:
        raise Damaged(f"{FILE} was altered")
    if body.get("version") != VERSION:
        raise CheckpointError(
            f"checkpoint: {directory} must have layout version {VERSION}; got"
            f" {body.get('version')}. Read it with the gradtx that wrote it"
            f" ({body.get('wrote', {}).get('gradtx', 'unknown')})."
        )
    return Meta(**{field.name: body[field.name] for field in fields(Meta)})


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """`facts` as they are after a way through JSON; what JSON lacks becomes text."""
    return json.loads(json.dumps(dict(facts), default=str))


def check_facts(where: str, saved: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Require that a checkpoint was saved under the facts of this run.

    Raises:
        CheckpointError: naming those that differ.
    """
    saved, here = flat(saved), flat(plain(here))
    missing = "(none)"
    differ = [
        f"{name} was {saved.get(name, missing)} and is {here.get(name, missing)}"
        for name in [*here, *(name for name in saved if name not in here)]
        if saved.get(name, missing) != here.get(name, missing)
    ]
    if differ:
        raise CheckpointError(
            f"{where} must be of the same configuration and data; got: {'; '.join(differ)}. Go on"
            " with those that it was saved with, or begin anew from its parameters alone"
            " (params_only, --params-only)."
        )


def flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names."""
    out: dict[str, Any] = {}
    for name, value in facts.items():
        nested = isinstance(value, Mapping)
        out |= flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return out


def _canonical(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))  # in the order given, which rows need
