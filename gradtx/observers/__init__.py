"""Observers: what a fit shows and writes on the host. They only read.

Those that need more than JAX say so when they are made: `progress` on a terminal needs rich,
`tensorboard` needs tensorboardX, `checkpoint` Orbax; all are in the extra `train`. The loggers
`mlflow`, `trackio` and `wandb` need these packages, which are in the extra `loggers`.
"""

from gradtx.observers.checkpoint import Interrupted, checkpoint
from gradtx.observers.csv import csv
from gradtx.observers.jsonl import MetricsError, jsonl, read_jsonl
from gradtx.observers.mlflow import mlflow
from gradtx.observers.profile import profile
from gradtx.observers.progress import progress
from gradtx.observers.signals import stop_on_signals
from gradtx.observers.table import table
from gradtx.observers.tell_faults import tell_faults
from gradtx.observers.tensorboard import tensorboard
from gradtx.observers.trackio import trackio
from gradtx.observers.wandb import wandb

__all__ = [
    "Interrupted",
    "MetricsError",
    "checkpoint",
    "csv",
    "jsonl",
    "mlflow",
    "profile",
    "progress",
    "read_jsonl",
    "stop_on_signals",
    "table",
    "tell_faults",
    "tensorboard",
    "trackio",
    "wandb",
]
