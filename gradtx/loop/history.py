"""What a fit reports of itself: the epoch table, and the logs of its steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class History:
    """What a fit reports.

    Args:
        rows: a dict for each epoch: epoch; train_loss, the smooth one, which runs over the whole
            fit as fastai's; train_loss_mean, the weighted mean of the epoch's losses; valid_loss,
            the metrics, time in seconds. NaN where there is no value.
        steps: an array for each entry of the steps' logs (loss, learning_rate, ...), a value a
            step; `loss` is NaN where it did not count: see `train_step`.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    steps: dict[str, np.ndarray] = field(default_factory=dict)


def with_nan(values: Mapping[str, Any]) -> dict[str, Any]:
    """A log or a row of the compiled programs, on the host: NaN where there is no value.

        value' = value if known else NaN        for each name in values["known"], which is left out

    In a compiled program what has no value is 0, so that a fit that is well makes no NaN.

    >>> with_nan({"loss": np.zeros(2), "known": {"loss": np.array([True, False])}})
    {'loss': array([ 0., nan])}

    Args:
        values: arrays, with any leading axes; as it came if it has no "known".
    """
    known = values.get("known", {})
    rest = {name: value for name, value in values.items() if name != "known"}
    fill = lambda name, value: np.where(known[name], value, np.nan) if name in known else value
    return {name: fill(name, value) for name, value in rest.items()}
