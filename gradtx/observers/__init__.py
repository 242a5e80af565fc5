"""Observers: what a fit shows and writes on the host. They only read.

Those that need more than JAX say so when they are made: `progress` on a terminal needs rich,
`tensorboard` needs tensorboardX, `checkpoint` Orbax; all are in the extra `train`.
"""

from gradtx.observers.checkpoint import Interrupted, checkpoint
from gradtx.observers.jsonl import MetricsError, jsonl, read_jsonl
from gradtx.observers.profile import profile
from gradtx.observers.progress import progress
from gradtx.observers.signals import stop_on_signals
from gradtx.observers.table import table
from gradtx.observers.tensorboard import tensorboard

__all__ = [
    "Interrupted",
    "MetricsError",
    "checkpoint",
    "jsonl",
    "profile",
    "progress",
    "read_jsonl",
    "stop_on_signals",
    "table",
    "tensorboard",
]
