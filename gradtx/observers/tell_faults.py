"""Warnings while a fit runs: what the hooks have counted that went wrong."""

from collections.abc import Callable
from typing import Any

from gradtx.kinds import checked
from gradtx.loop import Loop, Observer, Report, never
from gradtx.output import say_on_stdout


@checked
def tell_faults(loop: Loop, *, say: Callable[[str], Any] = say_on_stdout) -> Observer:
    """Say at the end of each epoch which of the loop's faults there are more of than before.

        Warning: dense.kernel has not moved (12).

    In parentheses is how many there are by now. What a fault is says `Loop.faults`; a fit goes on
    whatever they are.

    Args:
        loop: what is trained.
        say: is given each line.
    """
    told: dict[str, int] = {}

    def before_fit(report: Report) -> None:
        told.clear()
        told.update(loop.faults(report.state))

    def after_epoch(report: Report) -> None:
        faults = loop.faults(report.state)
        for kind, count in faults.items():
            if count > told.get(kind, 0):
                say(f"Warning: {kind} ({count:,}).")
        told.update(faults)

    return Observer(
        {"before_fit": before_fit, "after_epoch": after_epoch}, reads=never, name="tell_faults"
    )
