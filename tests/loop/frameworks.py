"""One small residual network in linen and in nnx, which take the same weights."""

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
