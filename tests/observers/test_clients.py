"""Loggers with the real clients, offline, read back by what these have for it."""

import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time

import jax.numpy as jnp
import pytest

from gradtx.hooks import terminate_on_nan
from gradtx.loop import Hook, Observer, fit
from gradtx.loop.histogram import HISTOGRAM_EDGES
from gradtx.observers import mlflow, wandb
from tests.observers.small import BATCHES, make

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore"),  # those of the clients and of what they bring
]
REASON = "it is in the extra `loggers`: pip install 'gradtx[loggers]'"
COUNTS = "health/histogram/grads/w"
CONFIG = {"lr": 0.125, "model": "small", "log": ["wandb", "csv"]}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "HF_HUB_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def with_counts():
    bins = len(HISTOGRAM_EDGES) + 1
    return Hook("counts", {}, log=lambda state: {COUNTS: jnp.arange(bins, dtype=jnp.int32)})


def twice(make_observer, folder):
    """A fit, a second one that goes on with its state, and what was said."""
    said = []
    loop, state = make(with_counts())
    kept = {"config": CONFIG, "loop": loop, "say": said.append}
    state, first = fit(
        loop, state, BATCHES, BATCHES[:1], epochs=2, observers=[make_observer(folder, **kept)]
    )
    _, second = fit(loop, state, BATCHES, epochs=1, observers=[make_observer(folder, **kept)])
    assert said == []
    return first, second


def losses(first, second):
    return [*first.steps["loss"].tolist(), *second.steps["loss"].tolist()]


def wandb_records(folder):
    """All records of the files that W&B has written offline, oldest file first."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in leveldb_log(path.read_bytes()):
            yield Record.FromString(data)


def leveldb_log(data):
    """The entries of a file: after a head of 7 bytes, blocks of 32 KiB as LevelDB's logs have."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        if not kind:  # what was not written to the end
            return
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, or the last part
            yield whole
            whole = b""


def items(entries):
    name = lambda item: item.key or "/".join(item.nested_key)
    return {name(item): json.loads(item.value_json) for item in entries}


def wandb_history(folder, *, ends):
    """The rows that were logged, once so many runs have been ended in the files."""
    until, found = time.monotonic() + 20, 0
    while found < ends and time.monotonic() < until:
        time.sleep(0.1)  # W&B's own process is still writing
        found = sum(record.HasField("exit") for record in wandb_records(folder))
    kept = (r.history for r in wandb_records(folder) if r.HasField("history"))
    return [items(history.item) for history in kept]


def test_wandb_has_all_of_a_run_and_goes_on_with_it(offline):
    pytest.importorskip("wandb", reason=REASON)
    first, second = twice(wandb, offline)
    rows = wandb_history(offline, ends=2)
    runs = [r.run for r in wandb_records(offline) if r.HasField("run")]
    assert len({run.run_id for run in runs}) == 1 and runs[0].display_name == "run"
    config = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert {name: config[name] for name in CONFIG} == CONFIG
    steps = [row["_step"] for row in rows]
    assert steps == [*range(1, 10)] and [row["step"] for row in rows] == steps
    assert [row["step/loss"] for row in rows] == losses(first, second)
    assert rows[0]["step/learning_rate/all"] == 0.125
    assert {row["_step"]: row["epoch/mae"] for row in rows if "epoch/mae" in row}[6] == (
        first.rows[1]["mae"]
    )
    counts = {part: rows[0][f"step/{COUNTS}/{part}"] for part in ("_type", "values", "bins")}
    assert counts["_type"] == "histogram" and len(counts["bins"]) == len(counts["values"]) + 1
    summary = [items(r.summary.update) for r in wandb_records(offline) if r.HasField("summary")]
    assert [s["status"] for s in summary if "status" in s] == ["finished"] * 2
    exits = [r.exit.exit_code for r in wandb_records(offline) if r.HasField("exit")]
    assert exits == [0, 0]


def test_a_backend_that_is_killed_ends_no_training_and_is_started_again(offline):
    pytest.importorskip("wandb", reason=REASON)
    said, steps = [], []

    def kill(report):
        steps.append(report.step)
        if report.step == 4:
            for pid in children("wandb-core"):
                os.kill(pid, signal.SIGKILL)

    loop, state = make()
    observers = [
        wandb(offline, say=said.append),
        Observer({"after_batch": kill}),
        Observer({"before_epoch": lambda report: observers[0].flush()}),
    ]
    fit(loop, state, BATCHES, epochs=6, observers=observers)
    assert len(steps) == 18
    assert said[0].startswith("Warning: wandb can't log (")
    assert said[1:] == ["wandb works again; what was kept is logged."]
    rows = wandb_history(offline, ends=1)
    assert [row["_step"] for row in rows][-9:] == [*range(10, 19)]


def children(name):
    command = ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())]
    listed = subprocess.run(command, capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if name in line]


def test_mlflow_has_all_of_a_run_and_goes_on_with_it(offline):
    client_of = pytest.importorskip("mlflow", reason=REASON).MlflowClient
    first, second = twice(mlflow, offline)
    client = client_of(tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "gradtx"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run" and run.info.status == "FINISHED"
    assert run.data.params["lr"] == "0.125" and run.data.tags["status"] == "finished"
    history = client.get_metric_history(run.info.run_id, "step/loss")
    assert [m.step for m in history] == [*range(1, 10)]
    assert [m.value for m in history] == losses(first, second)
    assert [m.step for m in client.get_metric_history(run.info.run_id, "epoch/mae")] == [3, 6, 9]
    files = client.list_artifacts(run.info.run_id, "arrays")
    assert [file.path for file in files] == [f"arrays/step_{n:08}.json" for n in range(1, 10)]


def test_mlflow_is_told_of_a_failure_and_its_faults(offline):
    client_of = pytest.importorskip("mlflow", reason=REASON).MlflowClient
    loop, state = make(terminate_on_nan())
    spoilt = {name: x * jnp.nan for name, x in BATCHES[1].items()}
    observers = [mlflow(offline, loop=loop)]
    fit(loop, state, [BATCHES[0], spoilt], epochs=1, observers=observers)
    note = json.loads((offline / "loggers" / "mlflow.json").read_text())
    run = client_of(tracking_uri=note["uri"]).get_run(note["id"])
    assert run.info.status == "FAILED" and "not finite" in run.data.tags["reason"]
    (fault,) = [name for name in run.data.metrics if name.startswith("faults/")]
    assert run.data.metrics[fault] == 1 and "not finite" in fault


def test_mlflow_without_its_store_ends_no_training(offline, monkeypatch):
    pytest.importorskip("mlflow", reason=REASON)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said = []
    loop, state = make()
    observer = mlflow(offline, say=said.append, tracking_uri="http://127.0.0.1:9")
    fit(loop, state, BATCHES, epochs=1, observers=[observer])
    assert said[0].startswith("Warning: mlflow can't log (MlflowException: API request to")
    assert said[1:] == ["Warning: mlflow lacks 4 records of steps and epochs."]


def test_trackio_has_all_of_a_run_and_goes_on_with_it(offline):
    pytest.importorskip("trackio", reason=REASON)
    # It takes TRACKIO_DIR when it is imported.
    code = """
        import sys
        from tests.observers.test_clients import losses, twice
        from gradtx.observers import trackio
        from pathlib import Path
        first, second = twice(trackio, Path("run"))
        from trackio.sqlite_storage import SQLiteStorage
        (name,) = SQLiteStorage.get_runs("gradtx")
        rows = SQLiteStorage.get_logs("gradtx", name)
        got = [row for row in rows if "step/loss" in row]
        assert [row["step"] for row in got] == [*range(1, 10)], got
        assert [row["step/loss"] for row in got] == losses(first, second)
        assert [row["step"] for row in rows if "epoch/mae" in row] == [3, 6, 9]
        assert [row["status"] for row in rows if "status" in row] == ["finished"] * 2
        assert SQLiteStorage.get_run_config("gradtx", name)["lr"] == 0.125
    """
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
