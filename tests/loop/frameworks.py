"""One small residual network in linen, in nnx and in Equinox, with the same weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import linen, nnx

FEATURES, CLASSES = 4, 3


class LinenNet(linen.Module):
    """A convolution, a block around a shortcut, the mean, a dense layer."""

    @linen.compact
    def __call__(self, x, *, train):
        norm = lambda name: linen.BatchNorm(use_running_average=not train, momentum=0.9, name=name)
        conv = lambda name: linen.Conv(FEATURES, (3, 3), use_bias=False, name=name)
        x = linen.relu(norm("norm0")(conv("conv0")(x)))
        y = linen.relu(norm("norm1")(conv("conv1")(x)))
        x = linen.relu(x + norm("norm2")(conv("conv2")(y)))
        return linen.Dense(CLASSES, name="head")(x.mean((1, 2)))


class NnxNet(nnx.Module):
    """The same, which says nowhere whether it trains: nnx has modes for that."""

    def __init__(self, rngs):
        for i, width in enumerate((3, FEATURES, FEATURES)):
            conv = nnx.Conv(width, FEATURES, (3, 3), use_bias=False, rngs=rngs)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"norm{i}", nnx.BatchNorm(FEATURES, momentum=0.9, rngs=rngs))
        self.head = nnx.Linear(FEATURES, CLASSES, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm0(self.conv0(x)))
        y = nnx.relu(self.norm1(self.conv1(x)))
        x = nnx.relu(x + self.norm2(self.conv2(y)))
        return self.head(x.mean((1, 2)))


class EquinoxNet(eqx.Module):
    """The same for one image, channels first."""

    convs: list
    norms: list
    head: eqx.nn.Linear

    def __init__(self, key):
        widths = (3, FEATURES, FEATURES)
        conv = lambda width: eqx.nn.Conv2d(width, FEATURES, 3, padding=1, use_bias=False, key=key)
        norm = lambda: eqx.nn.BatchNorm(FEATURES, "batch", momentum=0.9, mode="batch")
        self.convs, self.norms = [conv(width) for width in widths], [norm() for _ in widths]
        self.head = eqx.nn.Linear(FEATURES, CLASSES, key=key)

    def __call__(self, x, state):
        def layer(i, x, state):
            return self.norms[i](self.convs[i](x), state)

        x, state = layer(0, jnp.moveaxis(x, -1, 0), state)
        x = jax.nn.relu(x)
        y, state = layer(1, x, state)
        y, state = layer(2, jax.nn.relu(y), state)
        x = jax.nn.relu(x + y)
        return self.head(x.mean((1, 2))), state


def equinox_net(params):
    """The Equinox network, and its state, with the parameters of the linen one."""
    model, state = eqx.nn.make_with_state(EquinoxNet)(jax.random.key(0))
    kernels = [params[f"conv{i}"]["kernel"].transpose(3, 2, 0, 1) for i in range(3)]
    head = params["head"]
    where = lambda m: [*(conv.weight for conv in m.convs), m.head.weight, m.head.bias]
    return eqx.tree_at(where, model, [*kernels, head["kernel"].T, head["bias"]]), state
