"""The one command for accelerators: sections in processes, guarded and timed."""

import json
import subprocess
import sys

import jax
import pytest

from benchmarks import accelerator, report, sections


def test_the_parent_does_not_even_import_jax():
    code = "import benchmarks.accelerator, sys; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=accelerator.ROOT, check=True)


def test_each_section_has_a_function():
    assert sections.RUN.keys() == accelerator.SECTIONS.keys()
    assert {name.split(":")[0] for name in accelerator.TARGETS} <= accelerator.SECTIONS.keys()


def test_a_section_that_fails_or_takes_too_long_costs_only_itself(tmp_path, monkeypatch):
    figures = {
        "device": {"environment": {"device": "a card", "versions": {"jax": "1"}}},
        "step": {"figures": {"time through fit / plain Flax, a call a step": 0.95}},
        "plain": {"figures": {"ms a step": 2.0}},
        "deterministic": {"figures": {"ms a step": 2.2}, "digest": "a"},
        "deterministic_again": {"figures": {"ms a step": 2.2}, "digest": "a"},
    }
    flags = {}

    def run(command, *, env, timeout, stdout, **options):
        name, out = command[3:5]
        flags[name] = env["XLA_FLAGS"]
        if name in figures:
            with open(out, "w") as file:
                json.dump(figures[name], file)
        stdout.write("Delay kernel timed out\n")
        if name == "loop":
            raise subprocess.CalledProcessError(3, command)
        if name == "step":  # stopped, but what it had is there
            raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(accelerator.subprocess, "run", run)
    out = tmp_path / "x" / "card.json"
    result = accelerator.main(["--out", str(out)])
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    found = result["sections"]
    assert result["device"] == "a card"
    assert found["loop"]["status"] == "failed with status 3" and "Delay" in found["loop"]["log"]
    assert found["step"]["status"].startswith("stopped after ") and found["step"]["figures"]
    assert found["deterministic"]["figures"]["cost of a step"] == pytest.approx(0.1)
    assert found["deterministic"]["figures"]["two runs equal"] == 1
    assert found["compile"]["figures"]["warnings"] == 1
    assert {name for name, given in flags.items() if "deterministic_ops=true" in given} == {
        "deterministic",
        "deterministic_again",
        "population",
    }
    rows = {(row["section"], row["what"]): row["met"] for row in result["rows"]}
    assert rows["step", "time through fit / plain Flax, a call a step"] is False
    assert rows["deterministic", "cost of a step"] is True
    text = report.accelerators([result])
    assert "### a card" in text and "| loop | the section |  | failed with status 3 |  |" in text


def test_no_time_is_said(tmp_path):
    result = accelerator.main(["--minutes", "0", "--only", "device"])
    assert result["sections"]["device"]["status"] == "left out: no time"


def test_a_section_writes_each_figure_when_it_has_it(tmp_path):
    out = tmp_path / "optimizer.json"
    with jax.numpy_dtype_promotion("standard"):  # optax.adamw mixes floats and integers
        sections.main(["optimizer", str(out), "--tiny"])
    found = json.loads(out.read_text())["figures"]
    assert found["adamw in a scan, ms"] > 0 and found["flatten(adamw) alone, ms"] > 0


@pytest.mark.thorough
def test_a_tiny_run_of_all_sections(tmp_path):
    result = accelerator.main(["--tiny", "--minutes", "20", "--out", str(tmp_path / "all.json")])
    assert {found["status"] for found in result["sections"].values()} == {"ok"}
    assert result["sections"]["deterministic"]["figures"]["two runs equal"] == 1
