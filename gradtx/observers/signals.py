"""Stopping a fit by a signal, at the next step."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals(
    signals: Sequence[signal.Signals] = SIGNALS,
) -> Iterator[Callable[[int], bool]]:
    """Within it, `stop(step)` for `checkpoint` says yes once one of `signals` has come.

        with stop_on_signals() as stop:
            fit(..., observers=[checkpoint(directory, stop=stop)])

    The first signal only asks; a second one has the effect that it had before. For the main thread.
    With several processes it is JAX that takes SIGTERM, and makes all of them say yes at one step.

    Args:
        signals: which signals ask, by default SIGTERM and SIGINT; not used with several processes.

    Raises:
        ValueError: outside the main thread.
    """
    if jax.process_count() > 1:
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        yield reached_preemption_sync_point
        return
    asked = False
    before = {number: signal.getsignal(number) for number in signals}
    descriptor = signal.set_wakeup_fd(-1)  # who is told of signals there would end the fit at once

    def restore() -> None:
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        restore()

    for number in signals:
        signal.signal(number, ask)
    try:
        yield lambda step: asked
    finally:
        restore()
