"""What a process of the pool does: one transformation. It loads JAX only then."""

import os
from pathlib import Path

FOLDER = Path("build/law_table")


def prepare() -> None:
    """Give a worker two devices, for the law of sharding."""
    os.nice(5)
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"  # far more is compiled than is run


def work(name: str) -> str:
    """Try one entry, in a worker."""
    from tools.law_table.examine import attempt
    from tools.law_table.field import entries

    return attempt(FOLDER, next(entry for entry in entries() if entry.name == name))
