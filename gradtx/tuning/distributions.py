"""Distributions of one hyperparameter: values, and their places in [0, 1]."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Bounded:
    """Values from a least to a greatest one.

    Args:
        low: the least value.
        high: the greatest.
    """

    low: float
    high: float

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return self.low, self.high

    def clipped(self, value: jax.Array) -> jax.Array:
        """A value, or the bound that it lies beyond.

        Args:
            value: float32[...].
        """
        return jnp.clip(value, self.low, self.high)

    def moved(self, value: jax.Array, factor: jax.Array) -> jax.Array:
        """A value near another, within the bounds.

            value' = clip(factor value, low, high)

        Args:
            value: float32[...].
            factor: float32[...].
        """
        return self.clipped(factor * value)


class LogUniform(Bounded):
    """Positive values with a uniform logarithm; `log_uniform` makes it."""

    def value(self, place: jax.Array) -> jax.Array:
        """The value at a place.

            value = low (high / low)^place

        Args:
            place: float32[...] in [0, 1].
        """
        return self.clipped(self.low * jnp.exp(self._length * place))

    def place(self, value: jax.Array) -> jax.Array:
        """The place of a value, the inverse of `value`; of one out of bounds that of the bound.

        Args:
            value: float32[...].
        """
        return jnp.clip(jnp.log(self.clipped(value) / self.low) / self._length, 0.0, 1.0)

    @property
    def _length(self) -> float:
        return math.log(self.high) - math.log(self.low)


class Uniform(Bounded):
    """Values between two bounds; `uniform` makes it."""

    def value(self, place: jax.Array) -> jax.Array:
        """The value at a place.

            value = low + (high - low) place

        Args:
            place: float32[...] in [0, 1].
        """
        return self.clipped(self.low + (self.high - self.low) * place)

    def place(self, value: jax.Array) -> jax.Array:
        """The place of a value, the inverse of `value`; of one out of bounds that of the bound.

        Args:
            value: float32[...].
        """
        return jnp.clip((value - self.low) / (self.high - self.low), 0.0, 1.0)


@dataclass(frozen=True)
class Choice:
    """One of a few values, all alike; a list in a space makes it.

    Args:
        values: in the order in which neighbours are found.
    """

    values: tuple[float, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return min(self.values), max(self.values)

    def value(self, place: jax.Array) -> jax.Array:
        """The value at a place.

            value = values[floor(m place)]        of m values

        Args:
            place: float32[...] in [0, 1].
        """
        return self._at(jnp.floor(place * len(self.values)).astype(jnp.int32))

    def place(self, value: jax.Array) -> jax.Array:
        """The middle of the places of a value, or of the one nearest to it.

            place = (index + 1/2) / m

        Args:
            value: float32[...].
        """
        return (self._index(value).astype(jnp.float32) + 0.5) / len(self.values)

    def moved(self, value: jax.Array, factor: jax.Array) -> jax.Array:
        """The next in the list for a factor of at least 1, else the one before; the ends stay.

        Args:
            value: float32[...].
            factor: float32[...].
        """
        return self._at(self._index(value) + jnp.where(factor >= 1, 1, -1))

    def _at(self, index: jax.Array) -> jax.Array:
        return jnp.asarray(self.values, jnp.float32)[jnp.clip(index, 0, len(self.values) - 1)]

    def _index(self, value: jax.Array) -> jax.Array:
        values = jnp.asarray(self.values, jnp.float32)
        apart = jnp.abs(jnp.subtract.outer(value, values))
        return jnp.argmin(apart, axis=-1).astype(jnp.int32)


Distribution = LogUniform | Uniform | Choice
