"""Kinds of values, and the kinds of numbers by name."""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np


def is_array(x: Any) -> bool:
    """Whether it is an array of any library, also a traced one.

    Args:
        x: anything.
    """
    # Not a module of arrays, which has functions of these names.
    return isinstance(getattr(x, "shape", None), tuple) and hasattr(x, "dtype")


def is_number(x: Any) -> bool:
    """Whether it is a real number, also an array of shape []; True and False are none.

    Args:
        x: anything.
    """
    if isinstance(x, numbers.Number):
        return isinstance(x, numbers.Real) and not isinstance(x, bool)
    return is_array(x) and x.shape == () and is_real(x.dtype)


def is_real(dtype: Any) -> bool:
    """Whether it is of integers or real floating numbers.

    Args:
        dtype: any dtype.
    """
    # By name, since bfloat16 and its like are of no kind to NumPy, and a random key of none at all.
    return str(dtype).startswith(("float", "bfloat", "int", "uint"))


def as_number(x: Any) -> float:
    """`x` as a float; NaN for an integer that is too large for one.

    Args:
        x: a number or an array of shape [].
    """
    try:
        return float(x)
    except OverflowError:
        return math.nan


def a_number(test: Callable[[float], bool]) -> Callable[[Any], bool]:
    """`test` of a number; a traced one has no value yet, and passes.

    Args:
        test: function of a float.
    """

    def holds(x: Any) -> bool:
        try:
            return test(as_number(x))
        except TypeError:
            return True

    return holds


def is_integer(x: Any) -> bool:
    """Whether it is a number of an integer type.

    Args:
        x: anything.
    """
    return is_number(x) and ("int" in str(x.dtype) if is_array(x) else isinstance(x, int))


def is_dtype(x: Any) -> bool:
    """Whether `x` names a floating or complex dtype.

    Args:
        x: anything.
    """
    try:
        return not is_array(x) and str(np.dtype(x)).startswith(("float", "bfloat", "complex"))
    except Exception:  # NumPy and JAX raise errors of many kinds
        return False


def always(x: Any) -> bool:
    """True: of every value.

    Args:
        x: anything.
    """
    return True


@dataclass(frozen=True)
class Kind:
    """What an argument may be.

    Args:
        what: it in words, after "must be".
        fits: whether a value is of this kind.
        holds: whether a value of this kind will do; NaN will not, as a number.
        bounds: which values will do, in words; by default `what`.
    """

    what: str
    fits: Callable[[Any], bool]
    holds: Callable[[Any], bool] = always
    bounds: str = ""

    def admits(self, value: Any) -> bool:
        """Whether `value` is of this kind and will do.

        Args:
            value: anything.
        """
        return self.fits(value) and self.holds(value)


def _from(low: int, fits: Callable[[Any], bool] = is_number) -> Kind:
    # A float that is whole is one, too, where it is only computed with: so does Optax.
    holds = a_number(lambda x: low <= x < 2**31 and x == math.floor(x))
    return Kind("a whole number", fits, holds, f"at least {low}, whole and below 2^31")


def finite(what: str, test: Callable[[float], bool]) -> Kind:
    """The finite numbers of which `test` holds.

    Args:
        what: these in words.
        test: function of such a number.
    """
    return Kind(what, is_number, a_number(lambda x: math.isfinite(x) and test(x)))


Count = Annotated[int, _from(1)]
Natural = Annotated[int, _from(0)]
Whole = Annotated[int, _from(1, is_integer)]  # what is counted with, such as epochs and sizes
Positive = Annotated[float, finite("a positive, finite number", lambda x: x > 0)]
NonNegative = Annotated[float, finite("a finite number of at least 0", lambda x: x >= 0)]
Fraction = Annotated[float, finite("a fraction, in [0, 1]", lambda x: 0 <= x <= 1)]
Between = Annotated[float, finite("between 0 and 1, in (0, 1)", lambda x: 0 < x < 1)]
NonZero = Annotated[float, finite("a finite number other than 0", lambda x: x != 0)]
Bound = Annotated[float, Kind("a number of at least 0", is_number, a_number(lambda x: x >= 0))]
Dtype = Annotated[Any, Kind("a floating dtype, such as jnp.bfloat16", is_dtype)]
