"""What a run is made with: the versions of the libraries, and the devices."""

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax

PACKAGES = ("gradtx", "jax", "jaxlib", "optax", "flax", "orbax-checkpoint", "grain", "numpy")


def surroundings() -> dict[str, Any]:
    """Versions and devices, as entries of config.json; what is not installed has none.

    {"versions": {"python": "3.11.2", "jax": ...}, "device": {"kind": "cpu", "count": 1, ...}}
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    devices = jax.devices()
    device = {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "count": len(devices),
        "processes": jax.process_count(),
        "host": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
    return {"versions": versions, "device": device}
