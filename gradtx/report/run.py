"""A run's directory, read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradtx.augment import Augmentation
from gradtx.data.skipped import read_skipped
from gradtx.files import as_path
from gradtx.kinds import checked
from gradtx.loop import History
from gradtx.loop.state import SMOOTHING
from gradtx.observers.jsonl import read_jsonl
from gradtx.observers.metrics_file import MetricsError, each
from gradtx.report.faults import METRICS, read_faults
from gradtx.report.records import Foreign, is_sealed, read_foreign
from gradtx.report.searches import is_lineage, is_sweep
from gradtx.report.validation import Validation, read_validation
from gradtx.sealed import Damaged, read_json

MOMENTA = "momentum_names"
BESIDE = (MOMENTA, "versions", "device", "jax")  # entries of config.json that a run finds out
SEARCHES = ("sweep.json", "lineage.json")
MISSING = {  # which need not be there: what the page lacks without them
    "metrics.jsonl": "no curves and no table of epochs",
    "config.json": "options, versions and device are not known",
    "data.json": "",
    "skipped.jsonl": "",
    "faults.json": "the run has not ended, or does not count faults",
    "metrics.times.jsonl": "how long the epochs took is not known",
    "validation.npz": "no predictions of single images",
}
SPIKE = 10  # times the mean change from step to step
BEFORE = 2  # changes that make a mean
ROUNDING = 1e-6  # of a loss in float32
UNREADABLE = "images that could not be read, and count nothing"
SPLITS = {"train": "of these, training images", "valid": "of these, validation images"}


@dataclass(frozen=True)
class Run:
    """What a run has left, as far as it is there.

    Args:
        name: of the directory.
        config: the entries of config.json, whoever wrote it.
        history: the metrics of every step and epoch.
        classes: the names of the classes, by label.
        augmentation: what training images underwent, in words; "" if there were none.
        skipped: the split, index and why of each image that could not be read.
        faults: what the hooks counted, by kind; None if the run has not ended.
        validation: what the model says of the validation images.
        times: what metrics.times.jsonl says of each epoch.
        sweep: sweep.json: a list of a number for each copy, by column.
        lineage: lineage.json: the members of a search, round by round.
        foreign: what is particular to metrics that gradtx has not written; None of its own.
        missing: what is not there, and what the page lacks for that, in words.
    """

    name: str
    config: Mapping[str, Any]
    history: History
    classes: tuple[str, ...] = ()
    augmentation: str = ""
    skipped: tuple[Mapping[str, Any], ...] = ()
    faults: Mapping[str, int] | None = None
    validation: Validation | None = None
    times: tuple[Mapping[str, Any], ...] = ()
    sweep: Mapping[str, Any] | None = None
    lineage: Mapping[str, Any] | None = None
    foreign: Foreign | None = None
    missing: tuple[str, ...] = ()

    @property
    def axis(self) -> str:
        """What the curves are over."""
        return "steps" if self.foreign is None else self.foreign.axis

    @property
    def momentum_names(self) -> Sequence[str]:
        """The hyperparameters that play the momentum."""
        return self.config.get(MOMENTA, ())

    @property
    def options(self) -> dict[str, Any]:
        """What of the configuration its user has chosen, or would."""
        return {name: value for name, value in self.config.items() if name not in BESIDE}


@checked
def read_run(directory: str | Path) -> Run:
    """Read the directory of a run, also of one that is under way, or that gradtx has not written.

    Args:
        directory: with metrics.jsonl, of a search sweep.json or lineage.json, and what else there
            is.

    Raises:
        ValueError: if it has none of these, or a file in it is damaged.
    """
    directory = as_path(directory)
    names = lambda x: isinstance(x, list) and all(isinstance(name, str) for name in x)
    there = {name for name in (*MISSING, *SEARCHES) if (directory / name).exists()}
    if not there & {METRICS, *SEARCHES}:
        raise ValueError(
            f"report: {directory / METRICS} must be there; got nothing. Name the directory of a run"
            " that has begun to train."
        )
    history, foreign = _metrics(directory / METRICS) if METRICS in there else (History(), None)
    others = []

    def of(name: str, get: Callable[[Path], Any], otherwise: Any) -> Any:
        """What `get` reads; a file of another program that has the name of one of ours is none."""
        try:
            return get(directory / name) if name in there else otherwise
        except ValueError as error:
            if foreign is None:
                raise
            others.append(f"{name} is not what a run of gradtx writes: {error.args[0]}")
            return otherwise

    times, damage = of("metrics.times.jsonl", _times, ((), ()))
    images = of("data.json", lambda path: _json(path, {"classes": names}), {})
    return Run(
        name=directory.resolve().name or str(directory.resolve()),
        config=of("config.json", lambda path: _json(path, {MOMENTA: names}), {}),
        history=history,
        classes=tuple(images.get("classes", ())),
        augmentation=of("data.json", lambda path: _augmentation(images, path), ""),
        skipped=of("skipped.jsonl", skipped_images, ()),
        faults=of("faults.json", lambda path: _faults(directory), None),
        validation=of("validation.npz", read_validation, None),
        times=times,
        sweep=of("sweep.json", lambda path: _search(path, is_sweep), None),
        lineage=of("lineage.json", lambda path: _search(path, is_lineage), None),
        foreign=foreign,
        missing=(
            *damage,
            *_missing(there, history),
            *(foreign.notes if foreign else ()),
            *others,
        ),
    )


def _missing(there: set[str], history: History) -> tuple[str, ...]:
    """What is not in a directory, in words."""
    # A search has no more than its own file, and what it was made with.
    names = MISSING if METRICS in there else (METRICS, "config.json")
    told = {name: MISSING[name] for name in names if MISSING[name] and name not in there}
    without = [f"No {name}: {lacks}." for name, lacks in told.items()]
    if METRICS in there and not history.rows and not len(history.steps):
        return (f"{METRICS} is empty: no curves.", *without)
    return tuple(without)


def _metrics(path: Path) -> tuple[History, Foreign | None]:
    """The metrics of a file: as they were written by gradtx, or as far as they can be read."""
    try:
        return read_jsonl(path), None
    except MetricsError:
        if not path.is_file() or is_sealed(path):
            raise
        try:
            found = read_foreign(path)
        except Damaged as error:
            raise ValueError(
                f"report: {path} must have the lines that `jsonl` writes, or other JSON objects;"
                f" got {error}. Put it back as it was, or name the directory of a run."
            ) from error
        return found.history, found


def _times(path: Path) -> tuple[tuple[Mapping[str, Any], ...], tuple[str, ...]]:
    """What the epochs took, and what is wrong with the file: times are no part of the training."""
    try:
        return tuple(each(path)), ()
    except MetricsError:
        return (), (f"{path.name} is damaged: how long the epochs took is not known.",)


def _search(path: Path, is_right: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    """What a search has left."""
    if not is_right(found := _json(path)):
        raise _damaged(path, "entries that do not fit together")
    return found


def _augmentation(data: Mapping[str, Any], path: Path) -> str:
    """What data.json says was done to training images, in words."""
    if "augmentation" not in data:
        return ""
    try:
        return Augmentation(**data["augmentation"]).describe(photos=data["photos"])
    except (TypeError, ValueError, LookupError) as error:
        raise _damaged(path, "another form of `augmentation`") from error


def skipped_images(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The images that `gradtx.data.SkippedImages` has written to `path`; none without the file.

    Raises:
        ValueError: if the file is damaged.
    """
    if not path.exists():
        return ()
    return read_skipped(path)


def _faults(directory: Path) -> dict[str, int]:
    try:
        return read_faults(directory)
    except Damaged as error:
        raise _damaged(directory / "faults.json", str(error)) from error


def _json(path: Path, kinds: Mapping[str, Callable[[Any], bool]] | None = None) -> dict[str, Any]:
    """The entries of a file, some of which must be of a kind."""
    try:
        found = read_json(path)
    except Damaged as error:
        raise _damaged(path, str(error)) from error
    for name, is_right in (kinds or {}).items():
        if name in found and not is_right(found[name]):
            raise _damaged(path, f"a value of {name} that none can have")
    return found


def _damaged(path: Path, got: str) -> ValueError:
    return ValueError(
        f"report: {path} must be what a run wrote; got {got}. Put it back as it was, or name the"
        " directory of a run."
    )


def count_unreadable(skipped: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many images could not be read, and how many of each split, by kind; zeros too."""
    of = {split: sum(image["split"] == split for image in skipped) for split in SPLITS}
    return {UNREADABLE: len(skipped)} | {SPLITS[split]: count for split, count in of.items()}


@checked
def count_faults(run: Run) -> dict[str, int]:
    """Count what went wrong in a run, by kind; zeros too.

        a loss is a spike if  loss - loss of the step before > 10 change
        change = the decaying mean (decay 0.98) of such differences' sizes before, at least two

    So a constant that is added to the loss changes no count.

    Args:
        run: what the run has left, as `read_run` reads it.
    """
    images = count_unreadable(run.skipped)
    counted = {name.replace("_", " "): count for name, count in (run.faults or {}).items()}
    steps = run.history.steps
    loss = np.asarray(steps.get("loss", np.zeros(0)), float)
    # A line of another writer need not have a loss.
    lost = None if run.foreign is None else run.foreign.not_finite.get("loss", 0)
    return {
        **images,
        "steps without a finite loss": int(np.sum(~np.isfinite(loss))) if lost is None else lost,
        f"loss spikes, over {SPIKE} times the mean change in a step": _spikes(loss),
        # faults.json has the images too, as they were when it was written.
        **{name: count for name, count in counted.items() if name not in images},
    }


def _spikes(loss: np.ndarray) -> int:
    loss = loss[np.isfinite(loss)]
    total, weight, spikes = 0.0, 0.0, 0
    for i, (rise, rounding) in enumerate(
        zip(np.diff(loss), ROUNDING * np.abs(loss[1:]), strict=True)
    ):
        spikes += int(i >= BEFORE and (rise - rounding) * weight > SPIKE * total)
        total, weight = SMOOTHING * total + abs(rise), SMOOTHING * weight + 1
    return spikes
