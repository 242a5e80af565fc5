"""Metrics as tables of comma-separated values."""

import csv as format
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from gradtx.files import Appending, write_atomically
from gradtx.kinds import checked
from gradtx.loop import Loop, Observer
from gradtx.observers.logged import observed
from gradtx.observers.logger import End, Opening, Record
from gradtx.observers.step_logs import flat
from gradtx.output import say_on_stderr

FIRST = ("step", "epoch")


@checked
def csv(
    directory: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    loop: Loop | None = None,
    say: Callable[[str], None] = say_on_stderr,
) -> Observer:
    """Write the metrics as tables: steps.csv and epochs.csv, with a header; run.csv beside them.

        step,epoch,loss,train_loss,learning_rate/body,...
        1,0,0.6931471824645996,...

    `step` is the number of steps done. An array is a JSON list in its cell; what a step does not
    have is an empty cell. A column that comes later is added to all rows. run.csv has a line
    `name,value` for each hyperparameter, and at the end for the status and the faults. A fit that
    goes on from step n drops the rows after it. For what fails see `gradtx.observers.wandb`.

    Args:
        directory: of the run; it is made if need be.
        config: the hyperparameters of the run, by name.
        loop: whose faults and failure are told at the end.
        say: is given lines about what fails; by default they go to the standard error.
    """
    return observed(_Csv(), "csv", directory, config=config or {}, loop=loop, say=say)


class _Table:
    """A file of rows; what a row lacks is empty in it."""

    def __init__(self, path: Path, most: int) -> None:
        """Go on with a file, without the rows of steps after `most` and half of a line."""
        self.path = path
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        rows = [row for row in format.DictReader(whole) if int(row["step"]) <= most]
        self.columns = list(rows[0]) if rows else []
        self.last = int(rows[-1]["step"]) if rows else -1
        self._rewrite(rows)

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Append rows, all or none."""
        columns = list(dict.fromkeys([*self.columns, *(name for row in rows for name in row)]))
        if columns != self.columns:
            with self.path.open(newline="") as file:
                before = list(format.DictReader(file))
            self.columns = columns
            self._rewrite([*before, *rows])
        else:
            Appending(self.path).write([_text(self.columns, rows).encode()])

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        head = _text(self.columns, [dict(zip(self.columns, self.columns, strict=True))])
        write_atomically(self.path, head + _text(self.columns, rows) if rows else "")


class _Csv:
    def open(self, opening: Opening) -> dict[str, Any]:
        folder, most = opening.directory, opening.step
        folder.mkdir(parents=True, exist_ok=True)
        self.tables = {kind: _Table(folder / f"{kind}s.csv", most) for kind in ("step", "epoch")}
        self.run = folder / "run.csv"
        self.config = [pair for name, x in opening.config.items() for pair in flat(name, _plain(x))]
        self._describe([])
        return {kind: table.last for kind, table in self.tables.items()}

    def log(self, records: Sequence[Record]) -> None:
        for kind, table in self.tables.items():
            of_kind = [record for record in records if record.kind == kind]
            if of_kind:
                table.add([_row(record) for record in of_kind])

    def close(self, end: End) -> None:
        faults = [(f"faults/{kind}", count) for kind, count in end.faults.items()]
        said = [("status", end.status), ("reason", end.reason), ("step", end.step)]
        self._describe([*said, *faults])

    def _describe(self, more: Iterable[tuple[str, Any]]) -> None:
        pairs = [("name", "value"), *self.config, *more]
        write_atomically(self.run, _text((0, 1), [dict(enumerate(pair)) for pair in pairs]))


def _row(record: Record) -> dict[str, Any]:
    plain = {name.partition("/")[2]: _cell(value) for name, value in record.values.items()}
    return {"step": record.step, "epoch": record.epoch} | plain


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple) else value


def _text(columns: Sequence[Any], rows: Iterable[Mapping[Any, Any]]) -> str:
    out = StringIO(newline="")
    writer = format.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writerows(rows)
    return out.getvalue()
