"""Kinds of arguments: one table of what each annotation admits, and the check by it.

    @checked
    def lookahead(..., sync_period: Count = 6, ...): ...

    lookahead: `sync_period` must be a whole number of at least 1; got 'no'. The default is 6.

Annotations of the standard library mean what they say; NaN and infinity are no `float`, True and
False no numbers, text is no sequence. What a number must be beyond that, an alias says: `Count`.
What is annotated as `Any`, or as something that is not in the table, is not looked at here:
hyperparameters, transformations and trees of arrays have checks of their own.
"""

from gradtx.kinds.check import alias, check_kind, checked
from gradtx.kinds.kind import (
    Between,
    Bound,
    Count,
    Dtype,
    Fraction,
    Kind,
    Natural,
    NonNegative,
    NonZero,
    Positive,
    Whole,
    always,
    as_number,
    finite,
    is_array,
    is_number,
    is_real,
)
from gradtx.kinds.naming import refusing
from gradtx.kinds.table import KINDS, kind_of, takes

__all__ = [
    "KINDS",
    "Between",
    "Bound",
    "Count",
    "Dtype",
    "Fraction",
    "Kind",
    "Natural",
    "NonNegative",
    "NonZero",
    "Positive",
    "Whole",
    "alias",
    "always",
    "as_number",
    "check_kind",
    "checked",
    "finite",
    "is_array",
    "is_number",
    "is_real",
    "kind_of",
    "refusing",
    "takes",
]
