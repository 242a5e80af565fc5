"""--deterministic: the flag is there before a device is used, and in config.json."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from gradtx.run import RunOptions, launch
from gradtx.run.deterministic import FLAG, be_deterministic


@dataclass(frozen=True)
class Options(RunOptions):
    """Those of every run."""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", FLAG),
        ("--xla_a=1", f"--xla_a=1 {FLAG}"),
        ("--xla_gpu_deterministic_ops=false --xla_a=1", f"--xla_a=1 {FLAG}"),
        (FLAG, FLAG),
    ],
)
def test_the_flag_is_the_last_word(monkeypatch, before, after):
    monkeypatch.setenv("XLA_FLAGS", before)
    be_deterministic()
    assert os.environ["XLA_FLAGS"] == after


@pytest.mark.parametrize("asked", [False, True])
def test_only_who_asks_gets_it(monkeypatch, asked):
    monkeypatch.setenv("XLA_FLAGS", "")
    seen = []
    argv = ["--deterministic"] if asked else []
    assert launch(Options, lambda options, run: seen.append(os.environ["XLA_FLAGS"]), argv) == 0
    assert [FLAG in flags for flags in seen] == [asked]


@pytest.mark.thorough
def test_train_py_asks_before_jax_uses_a_device_and_says_so_in_its_configuration(tmp_path):
    """XLA would end the process at a flag that it does not know."""
    script = """
import sys
import train
from jax._src import xla_bridge
from gradtx.run import deterministic
assert not xla_bridge.backends_are_initialized()
sys.exit(train.main(sys.argv[1:]))
"""
    argv = ["--deterministic", "--model=mlp", "--limit-batches=1", "--epochs=1"]
    command = [sys.executable, "-c", script, *argv, f"--out={tmp_path / 'run'}"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["deterministic"] is True
