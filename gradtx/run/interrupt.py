"""Ctrl-C where nothing is to be saved: the process ends at once."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from gradtx.output import lossy, say_on_stderr

INTERRUPTED = 128 + signal.SIGINT  # the exit status, as a shell has it
LAST_WORD = "interrupted; what was written before is kept."


@contextmanager
def ending_at_once(alone: bool = True) -> Iterator[None]:
    """Within it Ctrl-C ends the process at once, with one line and status 130.

    Python's own handler waits for the end of what the main thread does, such as a program of JAX
    that runs for minutes, and an error raised then passes through threads that still compute. For
    the main thread of a script that is a process of its own; `stop_on_signals` takes its place
    where there is something to save.

    Args:
        alone: whether the script is a process of its own; else nothing changes, so that a debugger
            or a notebook which runs it goes on.
    """
    if not alone:
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def wait() -> None:
        while number := os.read(reader, 1):
            if number == bytes([signal.SIGINT]):
                say_on_stderr(f"error: {LAST_WORD}")
                lossy(sys.stdout).flush()
                os._exit(INTERRUPTED)

    thread = Thread(target=wait, name="ending-at-once", daemon=True)
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    descriptor = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        signal.signal(signal.SIGINT, before)
        os.close(writer)
        thread.join()
        os.close(reader)
