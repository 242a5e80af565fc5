"""What came of a check."""

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """A law that does not hold, and a script that shows it.

    Args:
        law: name of the law.
        formula: what should hold.
        details: where it fails, and the values seen there.
        code: the script.
    """

    law: str
    formula: str
    details: str
    code: str

    def __str__(self) -> str:
        """The report's paragraph on this law."""
        indent = lambda text, by: textwrap.indent(text, " " * by)
        return "\n".join(
            [self.law, indent(self.formula, 6), indent(self.details, 2), indent(self.code, 6)]
        )


@dataclass(frozen=True)
class Report:
    """What came of a check: the laws that hold and the failures. True if there are none.

    Args:
        name: what was checked.
        passed: names of the laws that hold.
        failures: the laws that do not hold.
        unsupported: names of the laws that this machine can't try.
    """

    name: str
    passed: tuple[str, ...]
    failures: tuple[Failure, ...]
    unsupported: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the laws that do not hold."""
        return tuple(failure.law for failure in self.failures)

    def __bool__(self) -> bool:
        return not self.failures

    def or_raise(self, where: str) -> "Report":
        """Return this report if there are no failures.

        Args:
            where: the function to name in the message.

        Raises:
            AssertionError: with all the failures.
        """
        if self.failures:
            raise AssertionError(f"{where}: {self}")
        return self

    def __str__(self) -> str:
        """All of it as text."""
        total = len(self.passed) + len(self.failures)
        if not self.failures:
            return f"{self.name} keeps all {total} laws: {', '.join(self.passed)}."
        head = f"{self.name} breaks {len(self.failures)} of {total} laws."
        parts = [f"{i}. {failure}" for i, failure in enumerate(self.failures, 1)]
        return "\n\n".join([head, *parts])
