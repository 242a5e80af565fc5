"""A program that runs once, such as the one that makes a first state."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T")

# XLA's default is 3. The first state of ResNet-34 takes 5 s of a CPU's time to compile so, in place
# of 14 s, and is the same to rounding; the program itself takes half a second either way.
LESS = {"xla_backend_optimization_level": 1}


def run_once(f: Callable[..., T], *args: Any) -> T:
    """`f(*args)` as one compiled program, where compiling would take longer than running.

        run_once(f, *args) = jax.jit(f)(*args)        to rounding

    On a CPU it is optimized less. Operation by operation, as `f(*args)` alone would run, each shape
    of an array is a program of its own to compile; this one may be found in JAX's compilation cache
    by the next process. It is not for use inside another `jit`. What a transformation checks of
    concrete values alone, such as a schedule's at step 0, goes unchecked.

    >>> import jax.numpy as jnp
    >>> float(run_once(lambda x: x + 1, jnp.zeros(())))
    1.0
    """
    options: Any = LESS if jax.default_backend() == "cpu" else None
    return jax.jit(f, compiler_options=options)(*args)
