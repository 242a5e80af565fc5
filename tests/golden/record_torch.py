"""Record PyTorch's optimizers for tests/optimizers/presets/test_torch.py; run once, by hand.

    python tests/golden/record_torch.py        needs torch and numpy; writes torch_optimizers.json

Every case starts from the same parameters and takes the same gradients, in float64; what is
recorded is the parameters after each step.
"""

import json
from pathlib import Path

import numpy as np
import torch

STEPS = 8
CASES = {
    "sgd": ("SGD", dict(lr=0.1)),
    "sgd momentum": ("SGD", dict(lr=0.1, momentum=0.9)),
    "sgd nesterov l2": ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)),
    "sgd dampening l2": ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.4, weight_decay=0.1)),
    "rmsprop": ("RMSprop", dict(lr=0.01)),
    "rmsprop momentum": ("RMSprop", dict(lr=0.01, alpha=0.9, momentum=0.8, weight_decay=0.1)),
    "rmsprop centered": ("RMSprop", dict(lr=0.01, centered=True, momentum=0.5)),
    "adam": ("Adam", dict(lr=0.01)),
    "adam l2": ("Adam", dict(lr=0.01, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1)),
    "adamw": ("AdamW", dict(lr=0.01)),
    "adamw decay": ("AdamW", dict(lr=0.01, betas=(0.9, 0.99), eps=1e-5, weight_decay=0.3)),
    "radam": ("RAdam", dict(lr=0.01, betas=(0.9, 0.9), eps=1e-12)),
    "radam slow": ("RAdam", dict(lr=0.01, eps=1e-12)),
    "adagrad": ("Adagrad", dict(lr=0.1)),
    "adagrad start": ("Adagrad", dict(lr=0.1, initial_accumulator_value=0.5, weight_decay=0.1)),
    "adadelta": ("Adadelta", dict(lr=1.0)),
    "adamax": ("Adamax", dict(lr=0.01)),
}


def main():
    rng = np.random.default_rng(7)
    shapes = {"bias": (2,), "kernel": (3, 2)}
    start = {key: rng.normal(size=shape) for key, shape in shapes.items()}
    grads = [{key: rng.normal(size=s) for key, s in shapes.items()} for _ in range(STEPS)]
    cases = {}
    for name, (cls, arguments) in CASES.items():
        params = {key: torch.nn.Parameter(torch.tensor(x)) for key, x in start.items()}
        optimizer = getattr(torch.optim, cls)(params.values(), **arguments)
        trajectory = []
        for g in grads:
            for key, p in params.items():
                p.grad = torch.tensor(g[key])
            optimizer.step()
            trajectory.append({key: p.detach().numpy().tolist() for key, p in params.items()})
        cases[name] = {"class": cls, "arguments": arguments, "params": trajectory}
    listed = lambda tree: {key: x.tolist() for key, x in tree.items()}
    record = {
        "torch": torch.__version__,
        "start": listed(start),
        "grads": [listed(g) for g in grads],
        "cases": cases,
    }
    Path(__file__).with_name("torch_optimizers.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
