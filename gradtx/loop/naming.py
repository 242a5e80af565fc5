"""Whose error it is: what users have written is called where its errors get a name."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from gradtx.parallel.axes import is_of_axes

TRACED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.UnexpectedTracerError,
)
# The kinds of errors that stay what they are; what is none of them becomes a RuntimeError.
KINDS = {
    FloatingPointError: FloatingPointError,
    NotImplementedError: NotImplementedError,
    (TypeError, AttributeError): TypeError,
    (ValueError, LookupError): ValueError,
}


@contextmanager
def named(where: str, given: str = "", *, unless: str = "", own: bool = False) -> Iterator[None]:
    """Say `where` an error comes from that is raised inside, with what the function was given.

        where: must not raise; got KeyError: 'label'. What to do.

    An error that begins with `where`, or with `unless`, has said so already; with `own`, also one
    that this package raises. That of a mesh, `gradtx.parallel.axes.explained` explains further out.
    """
    try:
        yield
    except Exception as error:
        said = str(error).partition("\n")[0]
        told = said.startswith((where, unless or where)) or (own and _is_own(error))
        if told or is_of_axes(error):
            raise
        kind = next((new for old, new in KINDS.items() if isinstance(error, old)), RuntimeError)
        do = "Correct it"
        if isinstance(error, TRACED):
            do = "It is traced by jit: use jax.numpy, and jnp.where in place of `if`"
        raise kind(
            f"{where}: must not raise; got {type(error).__name__}: {said[:300].rstrip('.')}"
            f"{given and f', for {given}'}. {do}; the error above has the line."
        ) from error


def _is_own(error: BaseException) -> bool:
    """Whether it was raised in a file of this package."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    name = "" if frame is None else frame.tb_frame.f_globals.get("__name__", "")
    return name.partition(".")[0] == __name__.partition(".")[0]
