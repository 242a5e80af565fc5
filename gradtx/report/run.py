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
from gradtx.report.faults import read_faults
from gradtx.report.validation import Validation, read_validation
from gradtx.sealed import Damaged, read_json

MOMENTA = "momentum_names"  # an entry of config.json that its run finds out
FILES = ("data.json", "faults.json", "validation.npz")  # which need not be there
SPIKE = 10  # times the mean change from step to step
BEFORE = 2  # changes that make a mean
ROUNDING = 1e-6  # of a loss in float32
UNREADABLE = "images that could not be read, and count nothing"
SPLITS = {"train": "of these, training images", "valid": "of these, validation images"}


@dataclass(frozen=True)
class Run:
    """What a run has left: configuration and metrics always, the rest if it is there.

    Args:
        name: of the directory.
        config: the entries of config.json.
        history: the metrics of every step and epoch.
        classes: the names of the classes, by label.
        augmentation: what training images underwent, in words; "" if there were none.
        skipped: the split, index and why of each image that could not be read.
        faults: what the hooks counted, by kind; None if the run has not ended.
        validation: what the model says of the validation images.
    """

    name: str
    config: Mapping[str, Any]
    history: History
    classes: tuple[str, ...] = ()
    augmentation: str = ""
    skipped: tuple[Mapping[str, Any], ...] = ()
    faults: Mapping[str, int] | None = None
    validation: Validation | None = None

    @property
    def momentum_names(self) -> Sequence[str]:
        """The hyperparameters that play the momentum."""
        return self.config.get(MOMENTA, ())

    @property
    def options(self) -> dict[str, Any]:
        """What of the configuration its user has chosen, or would."""
        return {name: value for name, value in self.config.items() if name != MOMENTA}


@checked
def read_run(directory: str | Path) -> Run:
    """Read the directory of a run, also of one that is under way.

    Args:
        directory: with config.json and metrics.jsonl, and what else the run has written.

    Raises:
        ValueError: if it is no such directory, or a file in it is damaged.
    """
    directory = as_path(directory)
    names = lambda x: isinstance(x, list) and all(isinstance(name, str) for name in x)
    config = _json(directory / "config.json", {MOMENTA: names})
    metrics = directory / "metrics.jsonl"
    if not metrics.exists():
        raise ValueError(
            f"report: {metrics} must be there; got nothing. Name the directory of a run that has"
            " begun to train."
        )
    data, faults, validation = (directory / name for name in FILES)
    images = _json(data, {"classes": names}) if data.exists() else {}
    return Run(
        name=directory.resolve().name,
        config=config,
        history=read_jsonl(metrics),
        classes=tuple(images.get("classes", ())),
        augmentation=_augmentation(images, data),
        skipped=skipped_images(directory / "skipped.jsonl"),
        faults=_faults(directory) if faults.exists() else None,
        validation=read_validation(validation) if validation.exists() else None,
    )


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
    return {
        **images,
        "steps without a finite loss": int(np.sum(~np.isfinite(loss))),
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
