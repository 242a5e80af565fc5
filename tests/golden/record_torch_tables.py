"""Record the left columns of docs/pytorch.md for tests/docs/test_torch.py, when they change.

Run by hand:

    python -m tests.golden.record_torch_tables        needs torch; writes torch_tables.json

An optimizer starts from the parameters and takes the gradients of torch_optimizers.json, in
float64. Of a scheduler the learning rate of each of 20 updates is recorded.
"""

import json
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch

from tests.markdown import ROOT, equivalences

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "pytorch.md"
UPDATES = 20


def trajectory(make, start, grads):
    double = lambda x: torch.tensor(x, dtype=torch.float64)
    params = {key: torch.nn.Parameter(double(x)) for key, x in start.items()}
    optimizer, out = make(list(params.values())), []
    for g in grads:
        for key, p in params.items():
            p.grad = double(g[key])
        optimizer.step()
        out.append({key: p.detach().numpy().tolist() for key, p in params.items()})
    return out


def rates(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler, out = make(optimizer), []
    for _ in range(UPDATES):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.asarray(out, float).tolist()


def made_later(module):
    """A namespace in which `SGD(lr=0.1)` waits for its first argument."""
    later = lambda cls: lambda **how: lambda first: cls(first, **how)
    return {name: later(cls) for name, cls in vars(module).items() if isinstance(cls, type)}


def main():
    warnings.simplefilter("ignore")
    record = json.loads((HERE / "torch_optimizers.json").read_text())
    run = partial(trajectory, start=record["start"], grads=record["grads"])
    optimizers, schedulers = made_later(torch.optim), made_later(torch.optim.lr_scheduler)
    table = {
        "torch": torch.__version__,
        "optimizers": {
            row.left: run(eval(row.left, dict(optimizers))) for row in equivalences(PAGE, "torch")
        },
        "schedules": {
            row.left: rates(eval(row.left, dict(schedulers)))
            for row in equivalences(PAGE, "torch schedules")
        },
    }
    (HERE / "torch_tables.json").write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()
