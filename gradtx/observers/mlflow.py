"""Metrics for MLflow."""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradtx.kinds import checked
from gradtx.loop import Loop, Observer
from gradtx.observers.logged import observed, package
from gradtx.observers.logger import End, Opening, Record
from gradtx.observers.step_logs import flat
from gradtx.output import say_on_stderr

MOST = 1000  # metrics that MLflow takes in one request
LETTERS = re.compile(r"[^\w\-. :/]", re.ASCII)  # that a name must not have there
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


@checked
def mlflow(
    directory: str | Path,
    *,
    config: Mapping[str, Any] | None = None,
    loop: Loop | None = None,
    say: Callable[[str], None] = say_on_stderr,
    tracking_uri: str | None = None,
    experiment: str | None = None,
) -> Observer:
    """Log to MLflow: its own client does it, to the server or the store that it is told of.

    The metrics are `step/loss`, `step/learning_rate/GROUP`, `epoch/valid_loss` over the number of
    steps done; letters that MLflow's names can't have are `_`. Arrays are artifacts,
    `arrays/step_N.json`. The hyperparameters are parameters, the status and its reason tags, the
    faults metrics `faults/KIND`. For what fails, and for a fit that goes on, see
    `gradtx.observers.wandb`; with the id the store's address is kept.

    Args:
        directory: of the run, whose name the MLflow run gets.
        config: the hyperparameters of the run, by name.
        loop: whose faults and failure are told at the end.
        say: is given lines about what fails; by default they go to the standard error.
        tracking_uri: the server or the store, such as "sqlite:///mlflow.db"; by default
            MLFLOW_TRACKING_URI, or MLflow's own default.
        experiment: the name; by default MLFLOW_EXPERIMENT_NAME, or "gradtx".

    Raises:
        ImportError: if mlflow can't be imported.
    """
    logger = _Mlflow(package("mlflow"), tracking_uri, experiment)
    return observed(logger, "mlflow", directory, config=config or {}, loop=loop, say=say)


class _Mlflow:
    def __init__(self, module: Any, uri: str | None, experiment: str | None) -> None:
        self.module, self.uri, self.experiment = module, uri, experiment

    def open(self, opening: Opening) -> dict[str, Any]:
        note = opening.note or {}
        uri = note.get("uri") or self.uri or self.module.get_tracking_uri()
        self.client = self.module.MlflowClient(tracking_uri=uri)
        self.id = note.get("id")
        if self.id is None:
            name = opening.directory.resolve().name
            self.id = self.client.create_run(self._experiment(), run_name=name).info.run_id
            self._describe(opening.config)
        else:
            self.client.update_run(self.id, status="RUNNING")
        return {**note, "id": self.id, "uri": uri}

    def _experiment(self) -> str:
        name = self.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", "gradtx")
        found = self.client.get_experiment_by_name(name)
        return found.experiment_id if found else self.client.create_experiment(name)

    def _describe(self, config: Mapping[str, Any]) -> None:
        param = self.module.entities.Param
        pairs = [pair for name, value in config.items() for pair in flat(name, value, lists=False)]
        params = [param(_name(name), str(value)) for name, value in pairs]
        for some in _parts(params, 100):
            self.client.log_batch(self.id, params=some)

    def log(self, records: Sequence[Record]) -> None:
        metrics = []
        for record in records:
            arrays = {k: v for k, v in record.values.items() if isinstance(v, list)}
            if arrays:
                file = f"arrays/{record.kind}_{record.step:08}.json"
                self.client.log_dict(self.id, arrays, file)
            numbers = {k: v for k, v in record.values.items() if k not in arrays}
            metrics += self._metrics(numbers, record.step)
        for some in _parts(metrics, MOST):
            self.client.log_batch(self.id, metrics=some)

    def _metrics(self, values: Mapping[str, Any], step: int) -> list[Any]:
        metric, now = self.module.entities.Metric, int(1000 * time.time())
        return [metric(_name(name), float(value), now, step) for name, value in values.items()]

    def close(self, end: End) -> None:
        faults = {f"faults/{kind}": count for kind, count in end.faults.items()}
        tag = self.module.entities.RunTag
        tags = [tag("status", end.status), tag("reason", end.reason)]
        self.client.log_batch(self.id, metrics=self._metrics(faults, end.step), tags=tags)
        self.client.set_terminated(self.id, status=STATUS[end.status])


def _name(name: str) -> str:
    return LETTERS.sub("_", name)[:250]


def _parts(items: list[Any], most: int) -> list[list[Any]]:
    return [items[i : i + most] for i in range(0, len(items), most)]
