"""What of a function has no derivative that is of use, found in its program."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core, source_info_util

from gradtx.kinds import checked

FLAT = {
    "sign": "the sign of a number does not change with it",
    "round": "a rounded number does not change with the number",
    "floor": "a rounded number does not change with the number",
    "ceil": "a rounded number does not change with the number",
    "stop_gradient": "it is told to have no derivative",
    "convert_element_type": "an integer does not change with the number that it is made of",
}
HOST = ("pure_callback", "io_callback")
OWN = ("custom_jvp_call", "custom_vjp_call")  # with a rule of its own, whatever is inside


class Obstacle(NamedTuple):
    """A place where a derivative ends.

    Args:
        where: the file, the line and the function.
        why: in words.
        modes: the modes of differentiation that it stops: "forward", "reverse".
    """

    where: str
    why: str
    modes: tuple[str, ...]

    def __str__(self) -> str:
        """Where, why, and in which mode."""
        return f"{self.where}: {self.why} ({' and '.join(self.modes)})"


@checked
def obstacles(function: Callable[..., Any], *args: Any) -> list[Obstacle]:
    """What stands between the floats that a function takes and those that it returns.

    An empty list means that `jax.grad` and `jax.jvp` see all of the function, but for choices by
    comparison: a clipped norm or a skipped batch is differentiated as what was chosen. What is
    listed either has the derivative 0 though the function changes (the sign in `lion`), or makes
    JAX refuse (a loop without a number of steps, backwards; a function on the host). The function
    is traced, not run.

    >>> import optax
    >>> tx = optax.sign_sgd(0.1)
    >>> [found] = obstacles(tx.update, jnp.ones(2), tx.init(jnp.ones(2)))
    >>> found.why
    'the sign of a number does not change with it'

    A step of a loop: `obstacles(lambda state: train_step(loop, state, batch)[0].params, state)`.

    Args:
        function: a pure function.
        args: its arguments, pytrees; arrays or `jax.ShapeDtypeStruct`.
    """
    program = jax.make_jaxpr(function)(*args).jaxpr
    found: dict[Obstacle, None] = {}
    moved = [_is_float(var.aval) for var in program.invars]
    _walk(program, moved, [_is_float(var.aval) for var in program.outvars], found)
    return list(found)


def _is_float(aval: Any) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.inexact)


def _walk(
    program: Any,
    moved: Sequence[bool],
    asked: Sequence[bool],
    found: dict[Obstacle, None],
    around: str = "",
) -> list[bool]:
    """Add the obstacles of a program to `found`; returns which outputs move with the inputs.

    Args:
        program: a jaxpr.
        moved: for each input, whether it moves.
        asked: for each output, whether anything depends on it.
        found: where to.
        around: where the program is called.
    """
    needed = _needed(program, asked)
    moving = {var for var, moves in zip(program.invars, moved, strict=True) if moves}
    for equation in program.eqns:
        inputs = [_is_in(var, moving) for var in equation.invars]
        if any(inputs) and needed.intersection(equation.outvars):
            wanted = [var in needed for var in equation.outvars]
            outputs = _through(equation, inputs, wanted, found, around)
            moving |= {var for var, moves in zip(equation.outvars, outputs, strict=True) if moves}
    return [_is_in(var, moving) for var in program.outvars]


def _is_in(var: Any, variables: set[Any]) -> bool:
    return not isinstance(var, core.Literal) and var in variables


def _needed(program: Any, asked: Sequence[bool]) -> set[Any]:
    """The variables that something asked for is computed from."""
    needed = {
        var
        for var, wanted in zip(program.outvars, asked, strict=True)
        if wanted and not isinstance(var, core.Literal)
    }
    for equation in reversed(program.eqns):
        if needed.intersection(equation.outvars):
            needed |= {var for var in equation.invars if not isinstance(var, core.Literal)}
    return needed


def _through(
    equation: Any,
    inputs: list[bool],
    asked: list[bool],
    found: dict[Obstacle, None],
    around: str,
) -> list[bool]:
    """Which outputs of an equation move with its inputs, and what is in their way."""
    name, parameters = equation.primitive.name, equation.params
    floats = [_is_float(var.aval) for var in equation.outvars]

    own = source_info_util.summarize(equation.source_info)
    where = own or around

    def add(why: str, *modes: str) -> None:
        # JAX's own functions, which have no line, stop what their result does not depend on, as
        # log_softmax does the maximum that it subtracts.
        if own or name != "stop_gradient":
            found.setdefault(Obstacle(where or f"jax ({name})", why, modes))

    if name == "custom_vjp_call":
        add("it has a rule of its own for the reverse mode alone", "forward")
    if name in OWN:
        return floats
    if name in FLAT and not (name == "convert_element_type" and floats[0]):
        if name != "convert_element_type" or _is_whole(equation.outvars[0].aval):
            add(FLAT[name], "forward", "reverse")
        return [False]
    if name in HOST:
        add("it is computed by a function on the host, which JAX refuses", "forward", "reverse")
        return [False] * len(floats)
    if name == "while":
        add("the number of steps of this loop is not known beforehand", "reverse")
        before = parameters["cond_nconsts"]
        fixed = parameters["body_nconsts"]
        body = parameters["body_jaxpr"].jaxpr
        return _settled(body, inputs[before:], fixed, len(floats), found, where)
    if name == "scan":
        body = parameters["jaxpr"].jaxpr
        # What it goes over has one axis more outside. JAX tells the numbers otherwise since 0.12.
        over = sum(map(_has_more_axes, equation.invars, body.invars))
        carried = len(floats) - sum(map(_has_more_axes, equation.outvars, body.outvars))
        return _settled(body, inputs, len(inputs) - over - carried, carried, found, where)
    inside = list(core.jaxprs_in_params(parameters))
    first = len(inputs) - len(inside[0].invars) if inside else -1  # after the index of a `cond`
    if first < 0:
        return floats
    made = [_walk(part, inputs[first:], asked, found, where) for part in inside]
    return [any(moves) for moves in zip(*made, strict=True)]


def _settled(
    body: Any,
    inputs: list[bool],
    fixed: int,
    carried: int,
    found: dict[Obstacle, None],
    around: str,
) -> list[bool]:
    """`_walk` of the body of a loop, until no more of what it carries moves."""
    while True:
        outputs = _walk(body, inputs, [True] * len(body.outvars), found, around)
        carry = [a or b for a, b in zip(inputs[fixed:], outputs[:carried], strict=False)]
        if carry == inputs[fixed : fixed + carried]:
            return outputs
        inputs = [*inputs[:fixed], *carry, *inputs[fixed + carried :]]


def _has_more_axes(outside: Any, inside: Any) -> bool:
    return len(outside.aval.shape) > len(inside.aval.shape)


def _is_whole(aval: Any) -> bool:
    """Whether it is an integer that is no truth value: a comparison is a choice, no rounding."""
    return jnp.issubdtype(aval.dtype, jnp.integer)
