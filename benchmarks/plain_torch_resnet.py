"""The same ResNet and training step in eager PyTorch: a baseline for train_step.py."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


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
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        return F.relu(y + (self.shortcut_norm(self.shortcut_conv(x)) if self.project else x))


class Head(nn.Module):
    def __init__(self, features, num_classes):
        super().__init__()
        self.dense = nn.Linear(features, num_classes)

    def forward(self, x):
        return self.dense(x.mean((2, 3)))


class ResNet(nn.Module):
    def __init__(self, *, stage_sizes, num_classes, channels, width=64):
        super().__init__()
        self.stem_conv = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks = []
        inputs = width
        for stage, blocks in enumerate(stage_sizes):
            for block in range(blocks):
                features, stride = width * 2**stage, 2 if stage > 0 and block == 0 else 1
                name = f"stage{stage + 1}_block{block + 1}"
                self.add_module(name, Block(inputs, features, stride))
                self.blocks.append(name)
                inputs = features
        self.head = Head(inputs, num_classes)

    def forward(self, x):
        x = F.relu(self.stem_norm(self.stem_conv(x)), inplace=True)
        x = F.max_pool2d(x, 3, 2, 1)
        for name in self.blocks:
            x = getattr(self, name)(x)
        return self.head(x)


def load(model, params):
    """Copy Flax parameters, keyed by "module/leaf", into `model`."""
    leaves = {"kernel": "weight", "scale": "weight", "bias": "bias"}
    state = dict(model.named_parameters())
    for path, value in params.items():
        *parts, leaf = path.split("/")
        value = np.asarray(value)
        value = value.transpose({1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[value.ndim])
        with torch.no_grad():
            state.pop(".".join([*parts, leaves[leaf]])).copy_(torch.from_numpy(value.copy()))
    assert not state, f"parameters without a value: {sorted(state)}"


def make_step(*, params, images, labels, learning_rate, weight_decay, threads, **sizes):
    """Return a function that trains one step and returns the loss before it."""
    torch.set_num_threads(threads)
    model = ResNet(channels=images.shape[-1], **sizes).to(memory_format=torch.channels_last)
    load(model, params)
    x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(np.array(labels)).long()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
    )

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
