"""How fast a training is, and what it takes: of each epoch, and of all."""

import time
from collections.abc import Callable
from typing import Any

import jax

from gradtx.loop import Observer, Report, never
from gradtx.observers.peaks import utilisation
from gradtx.observers.table import format_time

EXAMPLES = "examples_per_s"


class Throughput:
    """Measures the epochs of a fit; `figures` are those of the one that has ended.

        step_time = (end of the last step - end of the first steps) / (steps - first steps)
        compile_time = end of the first steps - begin of training - first steps step_time
        examples_per_s = examples / step_time
        flops_per_s = flops / step_time        utilisation = flops_per_s / peak

    The first steps are those that the host is told of together first, often one. A compile time is
    there in the first epoch of a process alone: of all that its first step took, in which the
    batches were begun too, what another step does not take. The memory is the largest that the
    first device had in use until then; of a device that does not say it, as a CPU, what the program
    of a step needs, by its `memory_analysis()`. That of a block of steps is not at hand, and a step
    would have to be compiled for it: there it is missing, as is the peak of a device that is not in
    the table.

    Args:
        examples: of a step.
        flops: of a step, one device's share; if None they are those of the program of a step.
    """

    def __init__(self, examples: float, flops: float | None = None) -> None:  # noqa: D107
        self.examples, self.flops = examples, flops
        self.figures: dict[str, float] = {}
        self.compile_time: float | None = None
        self.of_program: float | None = None  # bytes, where the device does not say them
        self.began = self.first = self.last = 0.0
        self.start = self.steps = 0

    def before_epoch(self, report: Report) -> None:
        """The epoch begins, or goes on."""
        self.began, self.start, self.steps = time.perf_counter(), report.batch, 0

    def after_batch(self, report: Report) -> None:
        """A step is known to have ended; of those that are told together the last one counts."""
        if report.left:
            return
        self.last = time.perf_counter()
        if not self.steps:
            self.first, self.at_first = self.last, report.batch
        self.steps = report.batch - self.start

    def after_epoch(self, report: Report) -> None:
        """Put together what the epoch's training was."""
        self.figures = {}
        if not self.steps:
            return
        silent = device_memory() is None
        unknown = self.flops is None or (silent and self.of_program is None)
        if unknown and report.program is not None and (program := report.program()) is not None:
            self.of_program = float(program.bytes) if silent else None
            self.flops = self.flops or program.flops / jax.device_count()
        if more := self.steps - (self.at_first - self.start):
            self.figures = self._of_epoch((self.last - self.first) / more)
        elif self.compile_time is not None:  # all steps were told together, and none had to compile
            self.figures = self._of_epoch((self.last - self.began) / self.steps)

    def _of_epoch(self, step_time: float) -> dict[str, float]:
        found = {"step_time": step_time, EXAMPLES: self.examples / max(step_time, 1e-9)}
        if self.compile_time is None:
            count = self.at_first - self.start
            self.compile_time = max(self.first - self.began - count * step_time, 0.0)
            found["compile_time"] = self.compile_time
        memory = device_memory()
        if (memory := self.of_program if memory is None else memory) is not None:
            found["device_memory"] = memory
        if self.flops:
            found["flops"] = self.flops
            found["flops_per_s"] = self.flops / max(step_time, 1e-9)
            if (share := utilisation(self.flops, max(step_time, 1e-9))) is not None:
                found["utilisation"] = share
        return found

    def observer(self, say: Callable[[str], Any] | None = None) -> Observer:
        """What tells it of a fit; it must be told before what reads `figures`.

        Args:
            say: is given a line about the last epoch at the end of the fit.
        """

        def after_fit(report: Report) -> None:
            if say is not None and self.figures:
                say(self.line())

        return Observer(
            {
                "before_epoch": self.before_epoch,
                "after_batch": self.after_batch,
                "after_epoch": self.after_epoch,
                "after_fit": after_fit,
            },
            reads=never,
            name="throughput",
        )

    def line(self) -> str:
        """The figures of the last epoch, and the compile time, for people."""
        found = self.figures
        parts = [f"{1000 * found['step_time']:,.1f} ms a step"]
        if self.compile_time is not None:
            parts.append(f"{format_time(self.compile_time)} until the first, most of it to compile")
        if "device_memory" in found:
            size = in_bytes(found["device_memory"])
            parts.append(
                f"at most {size} of the device's memory"
                if self.of_program is None
                else f"a step needs {size} of memory"
            )
        if "flops" in found:
            share = f", {found['utilisation']:.0%} of its peak" if "utilisation" in found else ""
            parts.append(
                f"{found['flops'] / 1e9:,.3g} GFLOP a step and device,"
                f" {found['flops_per_s'] / 1e9:,.3g} GFLOP/s{share}"
            )
        return f"Speed: {'; '.join(parts)}."


def in_bytes(size: float) -> str:
    """A size for people.

    >>> in_bytes(2.5e9), in_bytes(3.14e6)
    ('2.50 GB', '3.14 MB')

    Args:
        size: in bytes.
    """
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.3g} MB"


def device_memory() -> float | None:
    """The most bytes that the first device has had in use; None where the backend does not say."""
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use")
    return None if peak is None else float(peak)
