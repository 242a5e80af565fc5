"""A frozen dataclass as a command line: one field, one option, defaults in one place.

@dataclass(frozen=True)
class Options:
    epochs: int = option(4, "passes over the training data")
    optimizer: Literal["sgd", "adam"] = option("adam", "what makes updates of gradients")

options = parse(Options, ["--epochs", "2"])
"""

from gradtx.config.options import (
    check_ignored,
    check_ranges,
    command,
    convert,
    flag,
    invocation,
    option,
    parse,
    parse_range,
)
from gradtx.config.parser import Parser

__all__ = [
    "Parser",
    "check_ignored",
    "check_ranges",
    "command",
    "convert",
    "flag",
    "invocation",
    "option",
    "parse",
    "parse_range",
]
