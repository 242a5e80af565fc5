"""How a run ends: the exit statuses, and what goes wrong as one line on the standard error.

0   it has ended, or a signal has stopped it, and all is on the disk
1   it failed: a loss that is not finite, no memory, another process that is gone
2   bad input: options, data, a directory in use
3   it was trained to the end or stopped, but its last state or a file of it is not on the disk
130 Ctrl-C where there was nothing to save
"""

import os

from gradtx.output import say_on_stderr

FAILED, BAD_INPUT, NOT_SAVED = 1, 2, 3
MOST = 200  # letters of a path or of what another library says
NO_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "bad_alloc")


class RunFailed(Exception):
    """A run came to its end without a result; `launch` makes it exit status 1."""


def fail(error: BaseException | str, status: int = BAD_INPUT) -> int:
    """Say what is wrong in one line of the standard error, "error: ..."; returns the exit status.

    Args:
        error: what is wrong.
        status: the exit status.
    """
    say_on_stderr(f"error: {_line(error)}")
    return status


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, of the host or of a device.

    Args:
        error: of Python, NumPy or XLA.
    """
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return told or isinstance(error, MemoryError)


def _line(error: BaseException | str) -> str:
    """An error in one line."""
    if isinstance(error, str):
        return error
    if out_of_memory(error):
        got = short(str(error)).rstrip(".") or "no more"
        return (
            f"memory: what is trained must fit into it; got {got}. Lower --batch-size or the size"
            " of the model or of its inputs, or try --precision bf16."
        )
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"path: {short(os.fsdecode(error.filename))} must be a file or a directory that can be"
            f" used; got {error.strerror}. Put that right, or name another."
        )
    return " ".join(str(error).split()) or type(error).__name__


def short(text: str) -> str:
    """A text in one line, cut where it is too long for a message.

    Args:
        text: such as a path.
    """
    text = " ".join(text.split())
    return text if len(text) <= MOST else f"{text[: MOST - 3]}..."
