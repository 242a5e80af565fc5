"""The first state of a run, made by one compiled program."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

from gradtx.kinds import checked
from gradtx.loop import Loop, TrainState

T = TypeVar("T")

# XLA's default is 3. The first state of ResNet-34 takes 5 s of a CPU's time to compile so, in place
# of 14 s, and is the same to rounding; the program itself takes half a second either way.
LESS = {"xla_backend_optimization_level": 1}


@checked
def first_state(
    loop: Loop, init: Callable[[jax.Array], tuple[Any, Any]], *, seed: int = 0
) -> TrainState:
    """The state before any step: parameters by `init`, and all that the loop keeps beside them.

        params, model_state = init(key)
        state = loop.init(params, model_state, seed=key)        key = jax.random.key(seed)

    Args:
        loop: the loop that the state is for.
        init: a function of a typed key to the parameters and the model state, such as
            `Model.init`.
        seed: of the initialization and of all random numbers of the training, in [0, 2**32).
    """

    def begin(key: jax.Array) -> TrainState:
        params, model_state = init(key)
        return loop.init(params, model_state, seed=key)

    return run_once(begin, jax.random.key(seed))


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

    Args:
        f: a pure function of arrays.
        *args: its arguments, pytrees of arrays.
    """
    options: Any = LESS if jax.default_backend() == "cpu" else None
    return jax.jit(f, compiler_options=options)(*args)
