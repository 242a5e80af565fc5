"""What the record of fastai's side of docs/fastai.md and the test of gradtx's side must share."""

from typing import Any

import numpy as np

from tests.markdown import ROOT

RECORD = ROOT / "tests" / "golden" / "fastai_tables.json"
UPDATES = 20  # for which a schedule's values are taken
REQUEST_AT_STEP = 6  # of the training batches: the second of the second epoch
REQUESTED_AT = {
    "self.learn.loss_grad += penalty(self.pred)": "after_loss",  # of every batch
    "raise CancelBackwardException": "before_backward",
    "raise CancelStepException": "before_step",
    "raise CancelBatchException": "after_loss",
    "raise CancelTrainException": "before_batch",
    "raise CancelValidException": "before_batch",  # of the first validation
    "raise CancelEpochException": "after_loss",
    "raise CancelFitException": "after_pred",
}


def spoilt(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The page's batches with a NaN in the fourth."""
    return [b | {"y": b["y"] * np.nan} if i == 3 else b for i, b in enumerate(batches)]


def inputs_of(page: dict[str, Any]) -> dict[str, Any]:
    """What of the page's names the record depends on, as plain data."""
    plain = lambda tree: (
        {k: plain(v) for k, v in tree.items()}
        if isinstance(tree, dict)
        else [plain(v) for v in tree]
        if isinstance(tree, list)
        else np.asarray(tree, np.float64).tolist()
    )
    scalars = ("n", "lr", "lr_max", "base_lr", "wd", "n_acc", "max_norm", "alpha", "beta")
    return {key: plain(page[key]) for key in ("params", "rnn_params", "batches", *scalars)}
