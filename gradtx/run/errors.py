"""How a run fails: one line on the standard error, and the exit status."""

import sys


class RunFailed(Exception):
    """A run came to its end without a result; `launch` makes it exit status 1."""


def fail(error: Exception | str, status: int = 2) -> int:
    """Say what is wrong in one line of the standard error, "error: ..."; returns the exit status.

    Args:
        error: what is wrong.
        status: the exit status: 2 for bad input, 1 for a run that failed.
    """
    print(f"error: {error}", file=sys.stderr)
    return status
