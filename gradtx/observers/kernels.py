"""What a device did, by the trace that `jax.profiler` has written."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from jax.profiler import ProfileData

# What a kernel is for, by a part of its name; the first that fits decides.
GROUPS = {
    "convolution": ("conv", "cudnn", "implicit", "wgrad", "dgrad", "fprop", "winograd"),
    "matrix product": ("gemm", "dot", "cublas", "cutlass", "nvjet", "xmma"),
    "transpose": ("transpose", "nchwtonhwc", "nhwctonchw"),
    "copy": ("copy", "memcpy", "memset", "slice", "concatenate"),
    "scatter, sort": ("scatter", "gather", "sort"),
    "reduction": ("reduce",),
    "elementwise": ("fusion", "wrapped", "loop_"),
}


class Kernels(NamedTuple):
    """The kernels of a trace.

    Args:
        nanoseconds: by name, of all calls together.
        calls: by name, how many.
        busy: nanoseconds in which the device had something to do.
        span: nanoseconds from the first to the last.
    """

    nanoseconds: dict[str, float]
    calls: dict[str, int]
    busy: float
    span: float

    @property
    def busy_share(self) -> float:
        """The share of the time in which the device was busy; 0 without a kernel."""
        return self.busy / self.span if self.span else 0.0

    @property
    def groups(self) -> dict[str, float]:
        """Nanoseconds by what the kernels are for, the longest first."""
        found: dict[str, float] = {}
        for name, spent in self.nanoseconds.items():
            found[group_of(name)] = found.get(group_of(name), 0.0) + spent
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def group_of(name: str) -> str:
    """What a kernel is for, by its name.

    >>> group_of("input_transpose_fusion_3"), group_of("sm90_xmma_fprop_implicit_gemm")
    ('transpose', 'convolution')

    Args:
        name: as the trace has it.
    """
    lower = name.lower()
    parts = ((group, part) for group, parts in GROUPS.items() for part in parts)
    return next((group for group, part in parts if part in lower), "other")


def read_kernels(folder: Path) -> Kernels:
    """The kernels of the newest trace below `folder`.

    On a GPU they are those of its streams, on a TPU its operations, and on a CPU the operations of
    the threads, of which several run at a time.

    Args:
        folder: what `jax.profiler.start_trace` was given.

    Raises:
        FileNotFoundError: if there is no trace.
    """
    files = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise FileNotFoundError(
            f"read_kernels: `folder` must hold a trace of jax.profiler; got {folder}, which has no"
            " *.xplane.pb. Name the folder that it was written to."
        )
    data = ProfileData.from_file(str(files[-1]))  # kept: its planes are views of it
    planes = list(data.planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    with warnings.catch_warnings():
        # What jaxlib's own type warns of on Python 3.13 ends the process where warnings are errors.
        warnings.simplefilter("ignore", DeprecationWarning)
        events = list(_on_device(devices)) or list(_on_host(planes))
    nanoseconds: dict[str, float] = {}
    calls: dict[str, int] = {}
    for name, _, spent in events:
        nanoseconds[name] = nanoseconds.get(name, 0.0) + spent
        calls[name] = calls.get(name, 0) + 1
    ends = [(start, start + spent) for _, start, spent in events]
    span = max(e for _, e in ends) - min(s for s, _ in ends) if ends else 0.0
    return Kernels(nanoseconds, calls, _covered(ends), span)


Event = tuple[str, float, float]  # name, start and duration in nanoseconds


def _on_device(planes: Iterable[Any]) -> Iterable[Event]:
    for plane in planes:
        for line in plane.lines:
            if line.name.startswith("Stream") or line.name == "XLA Ops":
                yield from ((e.name, e.start_ns, e.duration_ns) for e in line.events)


def _on_host(planes: Iterable[Any]) -> Iterable[Event]:
    for line in (line for plane in planes for line in plane.lines):
        for event in line.events:
            if event.duration_ns and any(key == "hlo_op" for key, _ in event.stats):
                yield event.name, event.start_ns, event.duration_ns


def _covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of what some intervals cover together."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def summary(kernels: Kernels, steps: int, *, most: int = 10) -> list[str]:
    """Some lines for people: the busy share, the groups, and the longest kernels.

    Args:
        kernels: of a trace.
        steps: how many training steps it is of.
        most: how many kernels to name.
    """
    each = lambda nanoseconds: f"{nanoseconds / 1e6 / steps:9.3f} ms"
    total = sum(kernels.calls.values())
    lines = [
        f"Profile of {steps} steps: {total / steps:,.0f} kernels a step; the device was busy for"
        f" {each(kernels.busy).strip()} of {each(kernels.span).strip()} a step"
        f" ({kernels.busy_share:.0%})."
    ]
    lines += [f"  {each(spent)}  {group}" for group, spent in kernels.groups.items()]
    longest = sorted(kernels.nanoseconds.items(), key=lambda pair: -pair[1])[:most]
    lines += ["Longest kernels, a step:"] if longest else []
    for name, spent in longest:
        lines.append(f"  {each(spent)}  {kernels.calls[name] / steps:6.1f} x {name[:60]}")
    return lines
