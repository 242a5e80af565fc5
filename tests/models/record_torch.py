"""Record a small residual network in PyTorch, for test_resnet.py.

    pip install torch==2.13.0 numpy
    python tests/models/record_torch.py

writes golden_resnet.npz beside this file. Everything runs in float64 and is stored as float32,
in the layout and under the names of the Flax model. Two parts:

- `net/`: stages (1, 1) of width 8, plain head; three training steps of SGD on images of odd
  size, with the logits of every step, the first gradients, and what is left afterwards.
- `head/`: the two-layer head alone (hidden 8), without dropout, in training and evaluation.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

LEARNING_RATE = 0.1
STEPS = 3


class Block(nn.Module):
    def __init__(self, inputs, features, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, features, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(features)
        self.project = stride != 1 or inputs != features
        if self.project:
            self.shortcut_conv = nn.Conv2d(inputs, features, 1, stride, 0, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(features)

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (self.shortcut_norm(self.shortcut_conv(x)) if self.project else x))


class PlainHead(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.dense = nn.Linear(features, classes)

    def forward(self, x):
        return self.dense(F.adaptive_avg_pool2d(x, 1).flatten(1))


class ConcatHead(nn.Module):
    def __init__(self, features, hidden, classes):
        super().__init__()
        self.norm1 = nn.BatchNorm1d(2 * features)
        self.dense1 = nn.Linear(2 * features, hidden, bias=False)
        self.norm2 = nn.BatchNorm1d(hidden)
        self.dense2 = nn.Linear(hidden, classes, bias=False)

    def forward(self, x):
        z = torch.cat([F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, 1)], 1).flatten(1)
        return self.dense2(self.norm2(F.relu(self.dense1(self.norm1(z)))))


class Net(nn.Module):
    def __init__(self, channels, width, classes):
        super().__init__()
        self.stem_conv = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.stage1_block1 = Block(width, width, 1)
        self.stage2_block1 = Block(width, 2 * width, 2)
        self.head = PlainHead(2 * width, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.stem_norm(self.stem_conv(x))), 3, 2, 1)
        return self.head(self.stage2_block1(self.stage1_block1(x)))


LEAVES = {"running_mean": ("batch_stats", "mean"), "running_var": ("batch_stats", "var")}


def flax_entry(name, value):
    """Return the Flax path and value of one PyTorch parameter or buffer."""
    *parts, leaf = name.split(".")
    collection, new = LEAVES.get(leaf, ("params", leaf))
    if leaf == "weight":
        new = "scale" if value.ndim == 1 else "kernel"
        order = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[value.ndim]
        value = value.permute(order)
    return "/".join([collection, *parts, new]), value.detach().numpy().copy()


def snapshot(module, prefix):
    named = [*module.named_parameters(), *module.named_buffers()]
    named = [(k, v) for k, v in named if not k.endswith("num_batches_tracked")]
    return {f"{prefix}/{key}": value for key, value in (flax_entry(k, v) for k, v in named)}


def gradients(module, prefix):
    named = ((k, p.grad) for k, p in module.named_parameters())
    return {f"{prefix}/{key}": value for key, value in (flax_entry(k, g) for k, g in named)}


def pixels(shape):
    """Distinct enough images that fit in bytes: multiples of 1/32 in [-4, 4)."""
    return torch.randint(-128, 128, shape).double() / 32


def record(module, prefix, batches, labels):
    """Train on `batches` in turn and record all that a replay needs."""
    out = snapshot(module, f"{prefix}/before")
    out[f"{prefix}/x"] = (batches.movedim(2, -1) * 32).numpy().astype(np.int8)
    out[f"{prefix}/labels"] = labels.numpy().astype(np.int8)
    logits = []
    for step, (x, y) in enumerate(zip(batches, labels, strict=True)):
        module.zero_grad()
        logits.append(module(x))
        F.cross_entropy(logits[-1], y).backward()
        if step == 0:
            out |= gradients(module, f"{prefix}/gradient")
        with torch.no_grad():
            for p in module.parameters():
                p -= LEARNING_RATE * p.grad
    out[f"{prefix}/train_logits"] = torch.stack(logits).detach().numpy()
    out |= snapshot(module, f"{prefix}/after")
    module.eval()
    module.zero_grad()
    logits = module(batches[0])
    F.cross_entropy(logits, labels[0]).backward()
    out[f"{prefix}/eval_logits"] = logits.detach().numpy()
    return out | gradients(module, f"{prefix}/eval_gradient")


def main():
    torch.manual_seed(0)
    net = Net(channels=3, width=8, classes=5).double()
    head = ConcatHead(features=6, hidden=8, classes=5).double()
    with torch.no_grad():  # the initial 1 and 0 would hide a missing scale or bias
        for name, p in [*net.named_parameters(), *head.named_parameters()]:
            if "norm" in name:
                p += 0.2 * torch.randn_like(p)
    labels = torch.randint(0, 5, (STEPS, 4))
    out = record(net, "net", pixels((STEPS, 4, 3, 29, 34)), labels)
    out |= record(head, "head", pixels((STEPS, 4, 6, 2, 3)), labels)
    floats = {k: v if v.dtype == np.int8 else v.astype(np.float32) for k, v in out.items()}
    path = Path(__file__).with_name("golden_resnet.npz")
    np.savez_compressed(path, **floats)
    print(f"{path}: {path.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
