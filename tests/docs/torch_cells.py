"""What the record of PyTorch's side of docs/pytorch.md and the test of gradtx's side must share."""

from typing import Any

import numpy as np

from tests.markdown import ROOT

RECORD = ROOT / "tests" / "golden" / "torch_loop.json"
EPOCHS = 8
LATER = {  # before which batch a change is made, where it is none of the optimizer's
    'optimizer.param_groups[0]["lr"] = 0.01': 4,
    "optimizer.load_state_dict(optimizer.state_dict())": 4,
}


def overflowing(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The page's batches twice, with an infinity in three of them."""
    spoil = lambda b: b | {"y": np.full_like(b["y"], np.inf)}
    return [spoil(b) if i in (4, 6, 7) else b for i, b in enumerate(batches * 2)]


def inputs_of(page: dict[str, Any]) -> list[Any]:
    """What of the page's names the record depends on, as plain data."""
    arrays = [page["params"]["body"]["kernel"], page["params"]["head"]["kernel"]]
    arrays += [batch[name] for batch in page["data"] for name in ("x", "y")]
    return [np.asarray(x, np.float64).tolist() for x in arrays]
