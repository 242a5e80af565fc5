"""The loggers by their names."""

from collections.abc import Callable
from typing import Literal

from gradtx.loop import Observer
from gradtx.observers.csv import csv
from gradtx.observers.logged import package
from gradtx.observers.mlflow import mlflow
from gradtx.observers.trackio import trackio
from gradtx.observers.wandb import wandb

Name = Literal["csv", "mlflow", "tensorboard", "trackio", "wandb"]
# Of those that a run has only if it is asked for them: event files it always has.
LOGGERS: dict[str, Callable[..., Observer]] = {
    "csv": csv,
    "mlflow": mlflow,
    "trackio": trackio,
    "wandb": wandb,
}


def require(names: tuple[str, ...]) -> None:
    """Import what loggers need.

    Args:
        names: of the loggers.

    Raises:
        ImportError: naming the first that can't be imported, and what to install.
    """
    for name in names:
        if name not in ("csv", "tensorboard"):
            package(name)
