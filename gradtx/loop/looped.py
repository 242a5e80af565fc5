"""A step as the body of a loop that XLA compiles: a scan, a block, a population."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax


def looped(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step`, which warns if it is slow inside a loop.

    XLA runs plain convolutions inside a loop on a CPU many times slower than outside: of three
    `nn.Conv`, a gradient step that takes 10.6 ms alone takes 252 in a scan.

    Args:
        step: function of (loop, state, batch), of which the first is static.
    """
    inlined = jax.jit(step, static_argnums=0, inline=True)

    def run(loop: Any, state: Any, batch: Any) -> Any:
        if jax.default_backend() == "cpu":
            jaxpr: Any = inlined.trace(loop, state, batch).jaxpr  # which the call below finds again
            if is_slow_in_a_loop(jaxpr.jaxpr):
                warnings.warn(
                    "gradtx.loop: XLA runs plain convolutions many times slower inside a loop on a"
                    " CPU, and the model has some. Train it by `fit` with steps_per_execution=1,"
                    " or give it convolutions of another form, as models/convolution.py has.",
                    stacklevel=1,  # one place, so it is shown once
                )
        return inlined(loop, state, batch)

    return run


def is_slow_in_a_loop(program: Any) -> bool:
    """Whether XLA runs a program many times slower in a loop than outside, on a CPU.

    Args:
        program: a jaxpr.
    """
    return any(_is_slow(equation) for equation in _equations(program))


def _is_slow(equation: Any) -> bool:
    """Whether it is a convolution that is not channels-last, as the gradient by a kernel is not."""
    if equation.primitive.name != "conv_general_dilated":
        return False
    image, kernel, out = equation.params["dimension_numbers"]
    last = len(image) - 1
    around, inside = tuple(range(1, last)), tuple(range(last - 1))
    channels_last = (0, last, *around), (last, last - 1, *inside), (0, last, *around)
    return (image, kernel, out) != channels_last


def _equations(jaxpr: Any) -> Iterator[Any]:
    """What a program for a CPU computes, with the programs inside it."""
    for equation in jaxpr.eqns:
        yield equation
        inside: Any = equation.params
        if platforms := inside.get("branches_platforms"):  # of `platform_dependent`: one is run
            pairs = zip(platforms, inside["branches"], strict=True)
            inside = [branch for names, branch in pairs if names is None or "cpu" in names][:1]
        for part in jax.tree.leaves(inside, is_leaf=lambda x: hasattr(x, "jaxpr")):
            inner = getattr(part, "jaxpr", part)
            if hasattr(inner, "eqns"):
                yield from _equations(inner)
