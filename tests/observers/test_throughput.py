"""How fast an epoch was, by a clock that the test sets."""

import json

import pytest

from gradtx.loop import Report, fit
from gradtx.loop.program import step_program
from gradtx.observers import jsonl, peaks, throughput
from gradtx.observers.throughput import Throughput
from tests.observers.small import BATCHES, make


def told(monkeypatch, speed, times):
    """An epoch that begins at the first time, and whose steps end at the others."""
    clock = iter(times)
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(clock))
    report = lambda event, batch: Report(event, None, 0, 1, batch)
    speed.before_epoch(report("before_epoch", 0))
    for batch in range(1, len(times)):
        speed.after_batch(report("after_batch", batch))
    speed.after_epoch(report("after_epoch", len(times) - 1))
    return speed.figures


def test_the_first_step_compiles_and_the_others_have_the_time_of_a_step(monkeypatch):
    peak = peaks.Peak(1000.0, 1.0)
    monkeypatch.setattr(peaks, "peak_of", lambda kind: peak)
    monkeypatch.setattr(throughput, "device_memory", lambda: 2e9)
    speed = Throughput(examples=8, flops=100.0)
    got = told(monkeypatch, speed, [10.0, 15.0, 15.5, 16.0])
    want = {"step_time": 0.5, "examples_per_s": 16.0, "compile_time": 4.5, "device_memory": 2e9}
    assert got == want | {"flops": 100.0, "flops_per_s": 200.0, "utilisation": 0.2}
    line = speed.line()
    for part in ("500.0 ms a step", "4.5 s until", "2.00 GB", "20% of its peak"):
        assert part in line
    again = told(monkeypatch, speed, [20.0, 21.0, 22.0])
    assert again["step_time"] == 1 and "compile_time" not in again
    assert told(monkeypatch, speed, [30.0, 31.0])["step_time"] == 1
    assert told(monkeypatch, Throughput(1), [30.0, 31.0]) == {}  # it may have compiled


def test_steps_that_are_told_together_are_counted(monkeypatch):
    """The host looks at a block of steps at once."""
    clock = iter([0.0, 6.0, 9.0])
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(clock))
    speed = Throughput(examples=1)
    report = lambda batch, left: Report("", None, 0, 1, batch, left=left)
    speed.before_epoch(report(0, 0))
    for batch, left in enumerate([1, 0, 2, 1, 0], 1):
        speed.after_batch(report(batch, left))
    speed.after_epoch(report(5, 0))
    assert speed.figures == {"step_time": 1.0, "examples_per_s": 1.0, "compile_time": 4.0}


def test_the_figures_are_in_the_file_of_times(tmp_path):
    loop, state = make()
    speed = Throughput(examples=4)
    log = jsonl(tmp_path / "metrics.jsonl", beside=lambda: speed.figures)
    said = []
    fit(loop, state, BATCHES, epochs=2, observers=[speed.observer(said.append), log])
    lines = [*map(json.loads, (tmp_path / "metrics.times.jsonl").read_text().splitlines())]
    assert [line["step"] for line in lines] == [3, 6]
    assert lines[0]["step_time"] > 0 and lines[0]["compile_time"] >= 0
    assert "compile_time" not in lines[1]
    assert lines[0]["examples_per_s"] == pytest.approx(4 / lines[0]["step_time"])
    assert len(said) == 1 and said[0].startswith("Speed: ")
    if throughput.device_memory() is None:  # as a CPU: that of the program, which is compiled once
        program = step_program(loop, state, BATCHES[0])
        assert [line["device_memory"] for line in lines] == [program.bytes] * 2
        assert f"a step needs {throughput.in_bytes(program.bytes)} of memory" in said[0]
    metrics = (tmp_path / "metrics.jsonl").read_text()
    assert "step_time" not in metrics  # which two runs have alike, byte by byte
