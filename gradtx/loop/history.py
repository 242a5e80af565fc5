"""What a fit reports of itself: the epoch table, and the logs of its steps."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class History:
    """What a fit reports.

    Args:
        rows: a dict for each epoch: epoch, train_loss, valid_loss, the metrics, time in seconds.
        steps: an array for each entry of the steps' logs (loss, learning_rate, ...), a value a
            step.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    steps: dict[str, np.ndarray] = field(default_factory=dict)
