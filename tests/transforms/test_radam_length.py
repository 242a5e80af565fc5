"""The length of an exponential average, where the plain formula loses its digits."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import pytest

from gradtx.transforms.radam import average_length


def exact(decay: float, step: int) -> float:
    b = Fraction(decay)
    return float(2 / (1 - b) - 1 - 2 * step * b**step / (1 - b**step))


@pytest.mark.parametrize("decay", [0.9, 0.95, 0.99, 0.999])
def test_length_in_float64(decay):
    with jax.enable_x64(True):
        for step in (1, 2, 5, 6, 20, 49, 51, 60, 200):
            got = float(average_length(jnp.float64(decay), jnp.float64(step)))
            assert got == pytest.approx(exact(decay, step), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("decay", [0.9, 0.99, 0.999])
def test_length_in_float32(decay):
    rounded = float(jnp.float32(decay))
    for step in (2, 6, 49, 60, 400, 600):
        got = float(average_length(jnp.float32(decay), jnp.float32(step)))
        assert got == pytest.approx(exact(rounded, step), rel=2e-5)
