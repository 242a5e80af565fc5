"""Which classes a model takes for which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradtx.drawing import draw_matrix
from gradtx.inspection.judged import judged
from gradtx.inspection.subject import Subject
from gradtx.kinds import checked
from gradtx.loop import Loop, TrainState

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NONE = "none: NaN"  # what is predicted where a probability is NaN


@checked
def confusion(
    loop: Loop,
    state: TrainState,
    source: Any,
    *,
    classes: Sequence[str] | None = None,
) -> "Figure":
    """Draw how many validation examples of each class (row) are taken for each other (column).

    A cell is colored by its share of the row. Rows of a batch that have the weight 0 count nothing;
    an example of which a probability is NaN is in a column of its own at the end.

    Args:
        loop: what was trained, a classifier of one class an example.
        state: one of it.
        source: batches as `fit` takes `valid`, a data set, or what `image_source` returns.
        classes: names by label; None: the source's, else the labels' numbers.

    Raises:
        TypeError: if the source gives no batches.
        ValueError: if the prediction is not a score for each class.
        ImportError: without matplotlib, from the extra `plot`.
    """
    subject = Subject("confusion", source, classes)
    counts = np.zeros((0, 0), int)
    for batch in judged(subject, loop, state, None):
        classes_ = batch.probabilities.shape[1]
        counts = counts if counts.size else np.zeros((classes_, classes_ + 1), int)
        np.add.at(counts, (batch.labels, batch.predicted), 1)  # -1 is the last column
    rows = [subject.name(i) for i in range(len(counts))]
    columns = [*rows, NONE] if counts[:, -1].any() else rows
    return draw_matrix(counts[:, : len(columns)], rows, columns)
