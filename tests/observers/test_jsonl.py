"""The JSONL observer: what a fit writes, and what a resumed fit leaves of it."""

import io
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.loop import Hook, Observer, fit
from gradtx.observers import MetricsError, jsonl, read_jsonl
from tests.observers.small import BATCHES, end_phase_at, make, nan_at


def strict(line):
    """Parse JSON as the standard has it: no NaN, no Infinity."""

    def refuse(name):
        raise ValueError(name)

    return json.loads(line, parse_constant=refuse)


def records(path, kind):
    return [r for r in map(strict, path.read_text().splitlines()) if r["kind"] == kind]


def test_every_step_and_epoch_is_a_line(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    loop, state = make(nan_at(4))
    _, history = fit(loop, state, BATCHES, BATCHES[:1], epochs=2, observers=[jsonl(path)])
    kinds = [strict(line)["kind"] for line in path.read_text().splitlines()]
    assert kinds == (["step"] * 3 + ["epoch"]) * 2
    steps = records(path, "step")
    assert [(r["step"], r["epoch"]) for r in steps] == [(i, i // 3) for i in range(6)]
    assert steps[4]["loss"] is None and steps[5]["train_loss"] is None
    assert [r["loss"] for r in steps[:4]] == history.steps["loss"][:4].tolist()
    assert steps[0]["learning_rate"] == {"all": 0.125} and steps[0]["momentum"] == 0.5
    epochs = records(path, "epoch")
    assert [r["step"] for r in epochs] == [3, 6]
    columns = [name for name in history.rows[0] if name != "time"]
    assert list(epochs[0]) == ["kind", "step", *columns, "digest"]
    times = records(path.with_name("metrics.times.jsonl"), "epoch")
    assert [list(r) for r in times] == [["kind", "step", "epoch", "time", "digest"]] * 2
    assert [r["time"] for r in times] == [row["time"] for row in history.rows]
    assert epochs[0]["mae"] == history.rows[0]["mae"]


def test_arrays_of_a_hook_are_lists_and_read_back_as_arrays(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = lambda count: {"counts": jnp.arange(2), "by": {"a": jnp.array([[2.0, jnp.inf], [1, 0]])}}
    loop, state = make(Hook("mine", {}, log=log))
    _, history = fit(loop, state, BATCHES, epochs=1, observers=[jsonl(path)])
    line = records(path, "step")[1]
    assert line["counts"] == [0, 1] and line["by"] == {"a": [[2.0, None], [1.0, 0.0]]}
    steps = read_jsonl(path).steps
    np.testing.assert_array_equal(steps["counts"], history.steps["counts"])
    np.testing.assert_array_equal(steps["by"]["a"][1], [[2, np.nan], [1, 0]])


def test_arrays_of_different_fits_may_have_different_sizes(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"kind": "step", "step": step, "epoch": 0, "counts": counts, "rate": {name: 1.0}}
        for step, (counts, name) in enumerate([([1, 2], "a"), ([3, 4, 5], "b")])
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    steps = read_jsonl(path).steps
    assert [x.tolist() for x in steps["counts"]] == [[1, 2], [3, 4, 5]]
    np.testing.assert_array_equal(steps["rate"]["b"], [np.nan, 1])


def test_the_file_reads_back_as_the_history(tmp_path):
    path = tmp_path / "metrics.jsonl"
    loop, state = make(nan_at(1))
    _, history = fit(loop, state, BATCHES, epochs=2, observers=[jsonl(path)])
    read = read_jsonl(path)
    for name, values in history.steps.items():
        if name != "alive":
            jax.tree.map(np.testing.assert_array_equal, read.steps[name], values)
    for got, row in zip(read.rows, history.rows, strict=True):
        np.testing.assert_equal(got | {"time": row["time"]}, row | {"step": got["step"]})


def test_steps_after_the_end_of_a_phase_are_not_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    loop, state = make(end_phase_at(1))
    fit(loop, state, BATCHES, epochs=2, observers=[jsonl(path)])
    steps = records(path, "step")
    assert [(r["step"], r["epoch"]) for r in steps] == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1)]
    assert [r["step"] for r in records(path, "epoch")] == [2, 5]


def interrupted(path, *, event, step):
    """The state in which a fit was at an event, and the file as that fit left it in the end."""
    loop, state = make()
    saved = []

    def keep(report):
        if int(report.state.step) == step:
            saved.append(jax.tree.map(jnp.copy, report.state))

    observers = [jsonl(path), Observer({event: keep})]
    fit(loop, state, BATCHES, epochs=3, observers=observers)
    return loop, saved[0]


@pytest.mark.parametrize(
    "event, step", [("after_batch", 4), ("after_batch", 6), ("after_epoch", 6)]
)
def test_a_resumed_fit_continues_the_file(tmp_path, event, step):
    """Inside an epoch, after its last batch but before its line, and between epochs."""
    path = tmp_path / "metrics.jsonl"
    loop, state = interrupted(path, event=event, step=step)
    whole = path.read_text()
    path.write_text(whole + '{"kind": "step", "st')  # a process was killed while it wrote
    fit(loop, state, BATCHES, epochs=3, observers=[jsonl(path)])
    assert path.read_text() == whole
    times = records(path.with_name("metrics.times.jsonl"), "epoch")
    assert [r["step"] for r in times] == [3, 6, 9]


def test_the_first_step_is_written_as_soon_as_it_has_ended(tmp_path, monkeypatch):
    """Then not before a second has passed, which here it never."""
    monkeypatch.setattr("gradtx.observers.throttle.monotonic", lambda: 0.0)
    path = tmp_path / "metrics.jsonl"
    loop, state = make()
    seen = []
    look = lambda report: seen.append(path.read_text().splitlines() if path.exists() else [])
    fit(loop, state, BATCHES, epochs=1, observers=[jsonl(path), Observer({"after_batch": look})])
    assert [[strict(line)["step"] for line in lines] for lines in seen] == [[0], [0], [0]]
    assert len(records(path, "step")) == 3


def test_flush_leaves_nothing_to_write(tmp_path):
    """With every line in the file, a checkpoint can be later than none of them."""
    path = tmp_path / "metrics.jsonl"
    loop, state = make()
    log, seen = jsonl(path), []

    def look(report):
        log.flush()
        seen.append(len(path.read_text().splitlines()))

    fit(loop, state, BATCHES, epochs=1, observers=[log, Observer({"after_batch": look})])
    assert seen == [1, 2, 3]


def test_a_second_fit_is_appended_and_a_new_run_starts_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    loop, fresh = make()
    observers = [jsonl(path)]
    state, _ = fit(loop, fresh, BATCHES, epochs=1, observers=observers)
    fit(loop, state, BATCHES, epochs=1, observers=observers)
    assert [r["step"] for r in records(path, "step")] == [0, 1, 2, 3, 4, 5]
    fit(loop, fresh, BATCHES, epochs=1, observers=observers)
    assert [r["step"] for r in records(path, "step")] == [0, 1, 2]


OTHER = (b"keep me\n", b"keep me", b'{"loss": 1.0}\n', b'{"kind": "step"}\n', b"\xff\n", bytes(8))


@pytest.mark.parametrize("content", [*OTHER, b'{"kind": "step", "step": "\xff"}\n'])
def test_another_kind_of_file_is_left_alone(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    loop, state = make()
    with pytest.raises(MetricsError, match=r"jsonl: .*notes.txt must have the lines.*in line 1"):
        fit(loop, state, BATCHES, epochs=1, observers=[jsonl(path)])
    assert path.read_bytes() == content


def test_damaged_times_are_said_and_kept_aside(tmp_path, capsys):
    """A lost line and a changed one are left out; the fit goes on."""
    path, times = tmp_path / "metrics.jsonl", tmp_path / "metrics.times.jsonl"
    loop, state = interrupted(path, event="after_epoch", step=6)
    lines = times.read_text().splitlines(keepends=True)
    times.write_text(lines[0].replace('"step": 3', '"step": 2') + lines[1])
    damaged = times.read_text()
    fit(loop, state, BATCHES, epochs=3, observers=[jsonl(path)])
    said = capsys.readouterr().err
    assert said.startswith("Warning: jsonl: ") and said.count("\n") == 1
    assert "got line 1 that was altered" in said and "metrics.times.jsonl.damaged" in said
    assert (tmp_path / "metrics.times.jsonl.damaged").read_text() == damaged
    assert [r["step"] for r in records(times, "epoch")] == [6, 9]
    assert [r["step"] for r in read_jsonl(times).rows] == [6, 9]


DAMAGE = {
    "changed": lambda lines: [lines[0].replace("0.", "1.", 1), *lines[1:]],
    "lost": lambda lines: lines[1:],
    "moved": lambda lines: [lines[1], lines[0], *lines[2:]],
    "doubled": lambda lines: [lines[0], *lines],
    "without its digest": lambda lines: [
        lines[0], lines[1].split(', "digest"')[0] + "}\n", *lines[2:]
    ],
    "deep": lambda lines: ['{"kind": "step", "step": ' + "[" * 100_000 + "\n", *lines[1:]],
    "nested": lambda lines: ['{"kind": "step", "step": 0, "a": {"b": {"c": 0}}}\n'],
    "of text": lambda lines: ['{"kind": "step", "step": 0, "loss": "0"}\n'],
    "huge": lambda lines: ['{"kind": "step", "step": 0, "loss": 1' + "0" * 400 + "}\n"],
    "repeated by hand": lambda lines: ['{"kind": "step", "step": 0}\n'] * 2,
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_metrics_are_refused_and_left_alone(tmp_path, kind):
    path = tmp_path / "metrics.jsonl"
    loop, state = interrupted(path, event="after_epoch", step=6)
    path.write_text("".join(DAMAGE[kind](path.read_text().splitlines(keepends=True))))
    before = path.read_bytes()
    with pytest.raises(MetricsError, match=r"metrics\.jsonl must have .*; got .*line \d"):
        fit(loop, state, BATCHES, epochs=3, observers=[jsonl(path)])
    with pytest.raises(MetricsError, match=r"line \d"):
        read_jsonl(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("left", [None, 0, 3, 4])
def test_missing_lines_are_said(tmp_path, left):
    """The file, all its lines, the line of the last epoch, that and more."""
    path, said = tmp_path / "metrics.jsonl", []
    loop, state = interrupted(path, event="after_epoch", step=6)
    whole = path.read_text().splitlines(keepends=True)
    if left is None:
        path.unlink()
    else:
        path.write_text("".join(whole[:left]))
    fit(loop, state, BATCHES, epochs=3, observers=[jsonl(path, say=said.append)])
    begin = {None: 0, 0: 0, 3: 3, 4: 3}[left]
    assert [line for line in said if f"no lines from step {begin} to step 6" in line] == said
    assert len(said) == 1
    assert [r["step"] for r in records(path, "step")][-3:] == [6, 7, 8]
    read_jsonl(path)


def test_a_file_that_is_gone_is_there_again_though_no_step_is_left(tmp_path):
    path, said = tmp_path / "m.jsonl", []
    loop, state = interrupted(path, event="after_epoch", step=9)
    path.unlink()
    fit(loop, state, BATCHES, epochs=3, observers=[jsonl(path, say=said.append)])
    assert path.read_text() == "" and "has no lines from step 0 to step 9" in said[0]


def test_lines_without_digests_are_taken_as_they_are(tmp_path):
    """Of an earlier version; from then on they have them."""
    path = tmp_path / "metrics.jsonl"
    loop, state = interrupted(path, event="after_epoch", step=6)
    whole = path.read_text()
    bare = [line.split(', "digest"')[0] + "}\n" for line in whole.splitlines()]
    path.write_text("".join(bare))
    assert len(read_jsonl(path).rows) == 3
    fit(loop, state, BATCHES, epochs=3, observers=[jsonl(path)])
    assert path.read_text() == whole


def test_an_observer_of_a_fit_that_raised_begins_anew(tmp_path, monkeypatch):
    """What the first fit had not written yet is not the second's."""
    monkeypatch.setattr("gradtx.observers.throttle.monotonic", lambda: 0.0)
    path = tmp_path / "metrics.jsonl"
    loop, state = make()
    log = jsonl(path)

    def train(epoch, start):
        yield from BATCHES if epoch == 0 else BATCHES[:1]
        if epoch == 1:
            raise RuntimeError("reader")

    with pytest.raises(RuntimeError, match="reader"):
        fit(loop, state, train, epochs=2, observers=[log])
    fit(loop, state, BATCHES, epochs=2, observers=[log])
    assert [r["step"] for r in records(path, "step")] == [*range(6)]


def test_what_cannot_be_written_is_tried_again_and_no_line_is_lost(tmp_path):
    """A directory in place of the file is what any user, root too, can't write to."""
    path = tmp_path / "metrics.jsonl"
    aside = tmp_path / "aside"
    loop, state = make()

    def block(report):
        if report.epoch == 1:
            path.rename(aside)
            path.mkdir()
        if report.epoch == 2:
            path.rmdir()
            aside.rename(path)

    log = jsonl(path)
    fit(loop, state, BATCHES, epochs=3, observers=[log, Observer({"before_epoch": block})])
    assert [r["step"] for r in records(path, "step")] == list(range(9))
    assert len(records(path, "epoch")) == 3


def test_what_cannot_be_written_to_the_end_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    loop, state = make()
    block = Observer({"before_epoch": lambda report: (path.unlink(missing_ok=True), path.mkdir())})
    log = jsonl(path)
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        fit(loop, state, BATCHES, epochs=1, observers=[log, block])


def test_part_of_a_line_is_taken_back(tmp_path, monkeypatch):
    """As on a disk that fills up in the midst of a write."""
    path = tmp_path / "metrics.jsonl"
    loop, state = make()
    log = jsonl(path)
    real, limit = Path.open, [100]

    class Full(io.FileIO):
        def write(self, data):
            return super().write(data[: limit[0]])

    def full(self, mode="r", **rest):
        return Full(self, mode.replace("b", "")) if mode == "ab" else real(self, mode, **rest)

    monkeypatch.setattr(Path, "open", full)
    seen = []

    def after_epoch(report):
        seen.append(path.read_text())
        limit[0] = None

    fit(loop, state, BATCHES, epochs=2, observers=[log, Observer({"after_epoch": after_epoch})])
    assert seen[0] == "" and len(records(path, "step")) == 6
