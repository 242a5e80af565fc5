"""Record the left columns of docs/pytorch.md from "The step" on, for tests/docs/test_torch.py.

    python -m tests.golden.record_torch_loop        run by hand; needs torch; writes torch_loop.json

The model, the parameters and the batches are those of the page, in PyTorch and in float64.
"""

import json

import numpy as np
import torch
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tests.docs.torch_cells import EPOCHS, LATER, RECORD, inputs_of, overflowing
from tests.markdown import ROOT, equivalences, run

PAGE = ROOT / "docs" / "pytorch.md"
__all__ = ["AveragedModel", "GradScaler", "ReduceLROnPlateau", "clip_grad_norm_"]  # for the cells


def double(x):
    return torch.tensor(np.asarray(x), dtype=torch.float64)


class Model(torch.nn.Module):
    """`apply` of the page."""

    def __init__(self, params):
        super().__init__()
        self.body = torch.nn.Parameter(double(params["body"]["kernel"]))
        self.head = torch.nn.Parameter(double(params["head"]["kernel"]))

    def forward(self, x):
        return torch.tanh(x @ self.body) @ self.head

    def numbers(self):
        kernel = lambda p: {"kernel": p.detach().numpy().tolist()}
        return {"body": kernel(self.body), "head": kernel(self.head)}


def objective(model, batch):
    return ((model(double(batch["x"])) - double(batch["y"])) ** 2).mean()


def names(page):
    model = Model(page["params"])
    made = {"model": model, "optimizer": SGD(model.parameters(), lr=0.1, momentum=0.9)}
    return globals() | {"get_ema_multi_avg_fn": get_ema_multi_avg_fn} | made


def steps(page, change=""):
    """The parameters after each step; `change` is made where it belongs."""
    known, out = names(page), []
    backward, step = (row.left for row in equivalences(PAGE, "torch steps"))
    if change.startswith("optimizer = "):
        exec(change, known)
    for i, batch in enumerate(page["data"]):
        known["batch"] = batch
        if change in LATER and i == LATER[change]:
            exec(change, known)
        exec(backward, known)
        if change.startswith("clip"):
            exec(change, known)
        exec(step, known)
        out.append(known["model"].numbers())
    return out


def scaled(page, left):
    """The scale after each batch, some of which overflow, and the parameters at the end."""
    known, scales = names(page), []
    scaler = eval(left, known)
    for batch in overflowing(page["data"]):
        known["optimizer"].zero_grad()
        scaler.scale(objective(known["model"], batch)).backward()
        scaler.step(known["optimizer"])
        scaler.update()
        scales.append(scaler.get_scale())
    return {"scales": scales, "params": known["model"].numbers()}


def averaged(page, left):
    known = names(page)
    average = eval(left, known)
    average.update_parameters(known["model"])
    for batch in page["data"]:
        known["optimizer"].zero_grad()
        objective(known["model"], batch).backward()
        known["optimizer"].step()
        average.update_parameters(known["model"])
    return average.module.numbers()


def reduced(page, left):
    """The learning rate of each epoch, and the validation loss after it."""
    known, out = names(page), []
    scheduler, optimizer = eval(left, known), known["optimizer"]
    for _ in range(EPOCHS):
        rate = optimizer.param_groups[0]["lr"]
        for batch in page["data"][:6]:
            optimizer.zero_grad()
            objective(known["model"], batch).backward()
            optimizer.step()
        with torch.no_grad():
            valid = np.mean([float(objective(known["model"], b)) for b in page["data"][6:]])
        scheduler.step(valid)
        out.append([rate, valid])
    return out


def main():
    page = run(PAGE)
    changes = {row.left: steps(page, row.left) for row in equivalences(PAGE, "torch changes")}
    hooks = zip(equivalences(PAGE, "torch hooks"), (scaled, averaged, reduced), strict=True)
    record = {
        "torch": torch.__version__,
        "inputs": inputs_of(page),
        "plain": steps(page),
        "changes": changes,
        "hooks": {row.left: how(page, row.left) for row, how in hooks},
    }
    RECORD.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
