"""JSON that says whether it is still as it was written: a digest is its last entry.

A bit that flips, a line that is lost or moved, an entry that somebody edits: neither the file
system nor JSON notices. What has no digest at all, as a file written by hand, is taken as it is.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradtx.files import write_atomically

DIGEST = "digest"
SIZE = 16  # bytes
DEEPEST = 100  # objects and lists in one another


class Damaged(ValueError):
    """A file is not as it was written; the message says in a few words what is wrong with it."""


class Altered(Damaged):
    """A file can be read, but does not hold what was written; `entries` is what it holds.

    Args:
        entries: of the JSON object, without the digest.
    """

    def __init__(self, entries: dict[str, Any]) -> None:  # noqa: D107
        super().__init__(f"one that was altered (what it holds does not have its `{DIGEST}`)")
        self.entries = entries


def text_digest(text: str) -> str:
    """blake2b of a text in UTF-8.

    Args:
        text: of any length.
    """
    return hashlib.blake2b(text.encode(), digest_size=SIZE).hexdigest()


def canonical(value: Any) -> str:
    """`value` as JSON without spaces, with the entries in their order.

    Args:
        value: what JSON can hold.
    """
    return json.dumps(value, separators=(",", ":"))


def read_text(path: Path, errors: str = "strict") -> str:
    """The text of a file.

    Args:
        path: the file.
        errors: what becomes of bytes that are no UTF-8, as for `open`.

    Raises:
        Damaged: if it is not there, is no file, can't be read or is no UTF-8.
    """
    return "".join(text_lines(path, errors))


def text_lines(path: Path, errors: str = "strict") -> Iterator[str]:
    """The lines of a file, one at a time, each but perhaps the last with its end.

    Args:
        path: the file.
        errors: as for `read_text`.

    Raises:
        Damaged: as `read_text`.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for
            raise Damaged("no file")
        with path.open(encoding="utf-8", errors=errors) as file:
            yield from file
    except FileNotFoundError:
        raise Damaged("none") from None
    except OSError as error:
        raise Damaged(f"one that cannot be read ({error.strerror})") from error
    except UnicodeError as error:
        raise Damaged("what is no text") from error


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object of a text.

    Args:
        text: the JSON.

    Raises:
        Damaged: if it is something else, or nested too deep to be read.
    """
    try:
        found = json.loads(text)
    except RecursionError:
        raise Damaged("JSON that is nested too deep") from None
    except ValueError as error:
        raise Damaged("what is no JSON" if text.strip() else "an empty file") from error
    if not isinstance(found, dict):
        raise Damaged("JSON that is no object")
    if text.count("{") + text.count("[") > DEEPEST and _is_deep(found):
        raise Damaged("JSON that is nested too deep")
    return found


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        inside = [x.values() if isinstance(x, dict) else x for x in level]
        level = [x for values in inside for x in values if isinstance(x, dict | list)]
        if not level:
            return False
    return True


def write_json(path: Path, entries: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Write a JSON object with its digest, whole or not at all.

        {..., "digest": blake2b of the entries before it}

    Args:
        path: the file.
        entries: of the object; what JSON lacks becomes text.
        indent: as of `json.dumps`.

    Raises:
        OSError: if it cannot be written.
    """
    plain = json.loads(json.dumps(dict(entries), default=str))
    sealed = plain | {DIGEST: text_digest(canonical(plain))}
    write_atomically(path, json.dumps(sealed, indent=indent) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` has written, without the digest.

    Args:
        path: the file.

    Raises:
        Damaged: if it is something else.
        Altered: if it was altered.
    """
    entries = parse_object(read_text(path))
    if DIGEST in entries and entries.pop(DIGEST) != text_digest(canonical(entries)):
        raise Altered(entries)
    return entries


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write objects, one a line and each with the digest of all of them, whole or not at all.

    Args:
        path: the file.
        records: the objects, for JSON.

    Raises:
        OSError: if it cannot be written.
    """
    plain = [dict(record) for record in records]
    digest = text_digest(canonical(plain))
    lines = [json.dumps(record | {DIGEST: digest}) + "\n" for record in plain]
    write_atomically(path, "".join(lines))


def read_records(path: Path) -> list[dict[str, Any]]:
    """What `write_records` has written, without the digests.

    Args:
        path: the file.

    Raises:
        Damaged: if it is something else, or a line was altered, lost or moved.
    """
    records = [parse_object(line) for line in read_text(path).splitlines()]
    if not records:
        raise Damaged("an empty file")
    digests = {record.pop(DIGEST, None) for record in records}
    if digests not in ({None}, {text_digest(canonical(records))}):
        raise Damaged("one that was altered (its lines do not have their `digest`)")
    return records


@dataclass
class Chain:
    """Lines that are appended one after the other, each with a digest of itself and those before.

        digest_k = blake2b(digest_{k-1} line_k)        digest_0 of the empty text

    Args:
        last: the digest of the last line so far.
    """

    last: str = ""

    def seal(self, record: Mapping[str, Any]) -> bytes:
        """The next line.

        Args:
            record: the object that it holds, for JSON.
        """
        self.last = self._digest(record)
        return json.dumps({**record, DIGEST: self.last}).encode() + b"\n"

    def follows(self, record: dict[str, Any]) -> bool:
        """Whether a line that was read, whose digest is taken out of it, is the next one.

        Args:
            record: the object of the line.
        """
        want, self.last = self._digest(record), str(record.pop(DIGEST, ""))
        return want == self.last

    def _digest(self, record: Mapping[str, Any]) -> str:
        plain = {name: value for name, value in record.items() if name != DIGEST}
        return text_digest(self.last + canonical(plain))
