"""What the record of Keras's side of docs/keras.md and the test of gradtx's side must share."""

from typing import Any

import numpy as np

from tests.markdown import ROOT

RECORD = ROOT / "tests" / "golden" / "keras_fit.json"
EPOCHS = 8  # of a training with a callback
BATCHES = 20  # for which the loss scale is followed
OVERFLOWS = (4, 6, 7)  # the batches that have one


def spoilt(x: np.ndarray) -> np.ndarray:
    """The page's inputs with a NaN in the last of four batches."""
    return np.where(np.arange(len(x))[:, None] == len(x) - 1, np.float32(np.nan), x)


def inputs_of(page: dict[str, Any]) -> list[Any]:
    """What of the page's names the record depends on, as plain data."""
    layers = [
        page["params"][layer][name] for layer in ("hidden", "head") for name in ("kernel", "bias")
    ]
    arrays = [*layers, *(page[name] for name in ("x", "y", "xv", "yv", "weight"))]
    return [np.asarray(a, np.float64).tolist() for a in arrays] + [
        list(page["class_weight"].values())
    ]
