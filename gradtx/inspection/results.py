"""Images beside what the model says of them: the first, or the worst."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradtx.drawing import draw_images
from gradtx.drawing.images import LETTERS
from gradtx.drawing.text import short
from gradtx.inspection.judged import Judged, judged
from gradtx.inspection.subject import Subject
from gradtx.kinds import Count, checked
from gradtx.loop import Loop, TrainState

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@checked
def show_results(
    loop: Loop,
    state: TrainState,
    source: Any,
    *,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    inputs: str | int = "image",
    count: Count = 9,
) -> "Figure":
    """Draw the first validation images, with the label and the prediction; red where they differ.

    Args:
        loop: what was trained, a classifier of one class an image.
        state: one of it.
        source: batches as `fit` takes `valid`, a data set, or what `image_source` returns.
        classes: names by label; None: the source's, else the labels' numbers.
        mean: what images were normalized by, of each channel; None: as the source says.
        std: the standard deviations with it.
        inputs: the entry of images, or its place in a tuple.
        count: how many images, at most.

    Raises:
        TypeError: if the source gives no batches.
        ValueError: if the prediction is no score for each class, or the images cannot be shown.
        ImportError: without matplotlib, from the extra `plot`.
    """
    subject = Subject("show_results", source, classes, mean, std)
    found: list[Judged] = []
    for batch in judged(subject, loop, state, inputs):
        found.append(batch)
        if sum(len(each.labels) for each in found) >= count:
            break
    return _drawn(subject, _first(_joined(found), np.arange(int(count))), losses=False)


@checked
def top_losses(
    loop: Loop,
    state: TrainState,
    source: Any,
    *,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    inputs: str | int = "image",
    count: Count = 9,
) -> "Figure":
    """Draw the validation images of the greatest losses, the greatest first.

    Each has its label, the prediction, the loss and the probability of its label, as fastai's
    `plot_top_losses`. A loss that is NaN counts as the greatest. Only the worst images so far are
    held in memory.

    Args:
        loop: what was trained, a classifier of one class an image.
        state: one of it.
        source: batches as `fit` takes `valid`, a data set, or what `image_source` returns.
        classes: names by label; None: the source's, else the labels' numbers.
        mean: what images were normalized by, of each channel; None: as the source says.
        std: the standard deviations with it.
        inputs: the entry of images, or its place in a tuple.
        count: how many images, at most.

    Raises:
        TypeError: if the source gives no batches.
        ValueError: if the prediction is no score for each class, or the images cannot be shown.
        ImportError: without matplotlib, from the extra `plot`.
    """
    subject = Subject("top_losses", source, classes, mean, std)
    worst: Judged | None = None
    for batch in judged(subject, loop, state, inputs):
        both = batch if worst is None else _joined([worst, batch])
        losses = np.where(np.isnan(both.losses), np.inf, both.losses)
        worst = _first(both, np.argsort(-losses, kind="stable")[: int(count)])
    assert worst is not None, "`judged` refuses a source without examples"
    return _drawn(subject, worst, losses=True)


def _joined(found: Sequence[Judged]) -> Judged:
    return Judged(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _first(found: Judged, rows: np.ndarray) -> Judged:
    return Judged(*(x[rows[rows < len(x)]] for x in found))


def _drawn(subject: Subject, found: Judged, *, losses: bool) -> "Figure":
    titles, predicted = [], found.predicted
    for label, p, guess, loss in zip(
        found.labels, found.probabilities, predicted, found.losses, strict=True
    ):
        name = lambda index: short(subject.name(int(index)), LETTERS)
        said = "nothing: NaN" if guess < 0 else f"{name(guess)} {p[guess]:.0%}"
        lines = [name(label), said]
        lines += [f"loss {loss:.3g}, label {p[label]:.1%}"] if losses else []
        titles.append("\n".join(lines))
    return draw_images(subject.pixels(found.images), titles, right=predicted == found.labels)
