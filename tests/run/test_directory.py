"""The file that keeps a run's options."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradtx.config import option
from gradtx.run import RunOptions, read_config
from gradtx.run.directory import read_entries, write_config


@dataclass(frozen=True)
class Options(RunOptions):
    lr: float = option(1e-3, "the learning rate", least=0)
    data_dir: Path | None = option(None, "where the data are", overridable=True)


def test_the_options_of_a_run_are_read_again_and_changed(tmp_path):
    options = Options(lr=0.5, data_dir=tmp_path, log_gradient_norm=True, out=tmp_path / "x")
    write_config(options, tmp_path / "config.json", data="abc", jax="1")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert json.loads((tmp_path / "config.json").read_text())["data"] == "abc"
    kept = {"data_dir": tmp_path, "log_gradient_norm": True}  # `out` is not resumable
    assert read_config(Options, tmp_path) == Options(lr=0.5, **kept)
    changed = read_config(Options, tmp_path, ["--lr=1", "--no-log-gradient-norm"])
    assert changed == Options(lr=1.0, data_dir=tmp_path)


def test_a_saved_value_out_of_range_is_refused_even_if_it_is_changed(tmp_path):
    write_config(Options(), tmp_path / "config.json", data="", jax="")
    saved = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(saved | {"lr": -1}))
    with pytest.raises(ValueError, match=r"`--lr` must be in \[0, inf\); got -1.0"):
        read_config(Options, tmp_path, ["--lr=1"])


@pytest.mark.parametrize("text", [None, "[1", "3", "[1, 2]"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"read_entries: `path` must be .*json, which cannot"):
        read_entries(path)
