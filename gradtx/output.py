"""Lines for people that are lost, where nobody can take them, instead of ending the program."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

LOST = (OSError, ValueError)  # a full disk, a reader that is gone; a closed stream


class Lossy:
    """A text stream whose `write` and `flush` never raise: what can't be written is lost.

    A letter that the encoding lacks is written as an escape. All else is the stream's.

    >>> import io
    >>> stream = io.StringIO()
    >>> stream.close()
    >>> print("lost", file=lossy(stream), flush=True)

    Args:
        stream: a text stream, or None as `sys.stdout` is where it was closed from the beginning.
    """

    def __init__(self, stream: Any) -> None:  # noqa: D107
        self.stream = stream

    def write(self, text: str) -> int:
        """Write `text`, or lose it.

        Args:
            text: what to write.
        """
        if self.stream is None:
            return len(text)
        try:
            self.stream.write(text)
        except UnicodeEncodeError:
            encoding = self.stream.encoding
            self.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except LOST:
            pass
        return len(text)

    def flush(self) -> None:
        """Flush, if that can be done."""
        if self.stream is not None:
            with suppress(*LOST):
                self.stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal; a closed one is none."""
        with suppress(*LOST):
            return self.stream is not None and self.stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        """What else the stream has."""
        return getattr(self.stream, name)


def lossy(stream: Any) -> Any:
    """`stream` as a `Lossy` one; one that is so already stays as it is.

    Args:
        stream: a text stream, or None.
    """
    return stream if isinstance(stream, Lossy) else Lossy(stream)


def say_on_stdout(line: str) -> None:
    """Print a line for people on the standard output, or lose it.

    Args:
        line: the line.
    """
    print(line, file=lossy(sys.stdout), flush=True)


def say_on_stderr(line: str) -> None:
    """Print a line for people on the standard error, or lose it.

    Args:
        line: the line.
    """
    print(line, file=lossy(sys.stderr), flush=True)


def counted(number: int, noun: str) -> str:
    """A number of things, in words.

    >>> counted(1, "step"), counted(1234, "step")
    ('1 step', '1,234 steps')

    Args:
        number: how many.
        noun: one of them, whose plural ends in s.
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


@contextmanager
def lossy_output() -> Iterator[None]:
    """Within it the standard output and error lose what they can't write.

    So does Python at its end. Also a descriptor 0, 1 or 2 that is closed is opened on the null
    device: else the next file to be opened would get its number, and what libraries print.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before: Any = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(lossy, before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in before:
            _settle(stream)


def _settle(stream: Any) -> None:
    """Flush a stream; one that can't be goes to the null device, so that Python's end can."""
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        with suppress(*LOST):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, lossy(stream).fileno())
            os.close(null)
    except ValueError:  # it is closed
        pass
