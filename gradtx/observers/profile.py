"""A trace of some steps."""

from collections.abc import Callable
from pathlib import Path

import jax

from gradtx.files import as_path
from gradtx.loop import Observer, Report
from gradtx.observers.kernels import read_kernels, summary

AFTER = 5  # steps: the first ones compile and fill caches


def profile(
    folder: str | Path, steps: int, *, after: int = AFTER, say: Callable[[str], None] = print
) -> Observer:
    """Trace some steps by `jax.profiler`, and say what the device did in them.

    The trace begins when `after` steps of this process are done and ends `steps` later, or with the
    fit. On a GPU a trace turns XLA's command buffers off, so that its steps take longer than
    others: it says what the device does, not how fast a step is.

    Args:
        folder: where to write it, for TensorBoard, XProf or Perfetto.
        steps: how many to trace, at least 1.
        after: how many to wait before.
        say: what to do with each line of the summary.

    Raises:
        ValueError: if `steps` or `after` is too small.
    """
    if steps < 1 or after < 1:
        raise ValueError(
            f"profile: `steps` and `after` must be at least 1; got {steps} and {after}."
            " Pass 1 or more."
        )
    folder = as_path(folder)
    first: int | None = None  # the step after which the trace begins
    running = done = False

    def before_fit(report: Report) -> None:
        nonlocal first
        first = report.step + after

    def after_batch(report: Report) -> None:
        nonlocal running
        if first is None or done:
            return
        if report.step == first and not running:
            jax.block_until_ready(report.state.step)
            jax.profiler.start_trace(str(folder))
            running = True
        elif running and report.step == first + steps:
            stop(report)

    def stop(report: Report) -> None:
        nonlocal running, done
        jax.block_until_ready(report.state.step)
        jax.profiler.stop_trace()
        traced = report.step - (first or 0)
        running, done = False, True
        for line in summary(read_kernels(folder), max(traced, 1)):
            say(line)

    def after_fit(report: Report) -> None:
        if running:
            stop(report)
        elif not done:
            say(f"No profile: the fit has ended before {after} steps and one more.")

    return Observer(
        {"before_fit": before_fit, "after_batch": after_batch, "after_fit": after_fit},
        reads=lambda step: first is not None and step in (first, first + steps),
        name="profile",
    )
