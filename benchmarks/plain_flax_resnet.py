"""ResNet as one would write it with Flax's own layers: a baseline for train_step.py.

Parameters have the names and shapes of models.resnet, so both can start from the same values.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
Conv = partial(nn.Conv, use_bias=False, kernel_init=conv_init)
Norm = partial(nn.BatchNorm, momentum=0.9, epsilon=1e-5)


class Block(nn.Module):
    features: int
    stride: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        norm = partial(Norm, use_running_average=not train, dtype=self.dtype)
        conv = partial(Conv, dtype=self.dtype)
        strides = (self.stride, self.stride)
        y = conv(self.features, (3, 3), strides, padding=1, name="conv1")(x)
        y = nn.relu(norm(name="norm1")(y))
        y = conv(self.features, (3, 3), padding=1, name="conv2")(y)
        y = norm(name="norm2")(y)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = conv(self.features, (1, 1), strides, name="shortcut_conv")(x)
            x = norm(name="shortcut_norm")(x)
        return nn.relu(y + x)


class Head(nn.Module):
    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x):
        x = jnp.mean(x, axis=(1, 2))
        return nn.Dense(self.num_classes, name="dense", dtype=self.dtype)(x)


class ResNet(nn.Module):
    stage_sizes: tuple[int, ...]
    num_classes: int
    width: int = 64
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x, *, train):
        types = {"dtype": self.dtype}
        x = Conv(self.width, (7, 7), (2, 2), padding=3, name="stem_conv", **types)(x)
        x = nn.relu(Norm(use_running_average=not train, name="stem_norm", **types)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, blocks in enumerate(self.stage_sizes):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                name = f"stage{stage + 1}_block{block + 1}"
                x = Block(self.width * 2**stage, stride, name=name, **types)(x, train=train)
        return Head(self.num_classes, name="head", **types)(x)
