"""The one command for all records: a process for each benchmark, then the tables."""

import subprocess
from pathlib import Path

from benchmarks import all as every


def test_it_runs_each_benchmark_and_says_which_failed(tmp_path, monkeypatch, capsys):
    ran = []

    def run(command, **options):
        ran.append(command[2])
        return subprocess.CompletedProcess(command, int("benchmarks.loop" in command))

    monkeypatch.setattr(every.subprocess, "run", run)
    assert every.main(["--only", "memory", "loop", "--out", str(tmp_path)]) == 1
    assert ran == ["benchmarks.memory", "benchmarks.loop"]  # tables are of the records kept here
    assert "No record of loop: see above." in capsys.readouterr().out
    assert every.main(["--only", "memory"]) == 0
    assert ran[2:] == ["benchmarks.memory", "benchmarks.report"]


def test_it_makes_every_record_of_the_table():
    results = {path.stem for path in Path(every.ROOT, "benchmarks/results").glob("*.json")}
    assert results <= set(every.NAMES)
