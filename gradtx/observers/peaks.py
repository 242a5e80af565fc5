"""What devices could do at most, to see what share of it a program reaches."""

from typing import Any, NamedTuple

import jax

from gradtx.loop.program import flops_in


class Peak(NamedTuple):
    """The makers' figures of one device.

    Args:
        flops: dense operations a second in bfloat16 (float16 where there is no bfloat16).
        bandwidth: bytes a second of its memory.
    """

    flops: float
    bandwidth: float


# By a part of `device_kind`; the first that fits decides.
PEAKS = {
    "B200": Peak(2250e12, 8.0e12),
    "H200": Peak(989e12, 4.8e12),
    "H100 PCIe": Peak(756e12, 2.0e12),
    "H100": Peak(989e12, 3.35e12),
    "A100": Peak(312e12, 2.0e12),
    "L40S": Peak(362e12, 0.86e12),
    "L4": Peak(121e12, 0.3e12),
    "RTX 4090": Peak(165e12, 1.0e12),
    "V100": Peak(125e12, 0.9e12),
    "T4": Peak(65e12, 0.32e12),
    "TPU v6": Peak(918e12, 1.64e12),
    "TPU v5p": Peak(459e12, 2.77e12),
    "TPU v5 lite": Peak(197e12, 0.82e12),
    "TPU v4": Peak(275e12, 1.2e12),
}


def peak_of(device_kind: str) -> Peak | None:
    """The figures of a device; None for one that is not in the table.

    >>> peak_of("NVIDIA H100 80GB HBM3").flops, peak_of("cpu")
    (989000000000000.0, None)

    Args:
        device_kind: as JAX calls it.
    """
    return next((peak for part, peak in PEAKS.items() if part in device_kind), None)


def flops_of(run: Any, *args: Any) -> float:
    """Operations of one call, as XLA counts them before it optimizes: those of the model.

    Args:
        run: a jitted function.
        *args: what it is called with, or their shapes.
    """
    return flops_in(run.lower(*args))


def ideal_time(run: Any, *args: Any) -> float | None:
    """The seconds that a call would take at the peak of all devices; None where that is not known.

        ideal = flops / (devices peak)

    Args:
        run: a jitted function.
        *args: what it is called with, or their shapes.
    """
    peak = peak_of(jax.devices()[0].device_kind)
    return None if peak is None else flops_of(run, *args) / (peak.flops * jax.device_count())


def utilisation(flops: float, seconds: float) -> float | None:
    """The share of the first device's peak that some work in some time is.

    Args:
        flops: operations done.
        seconds: that they took.
    """
    peak = peak_of(jax.devices()[0].device_kind)
    return None if peak is None else flops / seconds / peak.flops
