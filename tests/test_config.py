"""The generated command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from gradtx.config import option, parse, read_words, write_config


@dataclass(frozen=True)
class Example:
    epochs: int = option(4, "passes over the data, 100 % of it")
    lr: float = option(1e-3, "the learning rate")
    kind: Literal["a", "b"] = option("a", "which one")
    quick: bool = option(False, "less of everything")
    out: Path | None = option(None, "where to write")


def test_defaults_come_from_the_dataclass():
    assert parse(Example, []) == Example()


def test_every_kind_of_option():
    got = parse(Example, "--epochs 2 --lr 0.5 --kind b --quick --out runs/x".split())
    assert got == Example(2, 0.5, "b", True, Path("runs/x"))
    assert parse(Example, ["--no-quick"]).quick is False


@pytest.mark.parametrize(
    "argv, named",
    [
        (["--epoch", "2"], "--epoch"),
        (["--epochs", "two"], "--epochs"),
        (["--kind", "c"], "--kind"),
        (["stray"], "stray"),
        (["--out", ""], "--out: a path must not be empty"),
    ],
)
def test_a_bad_option_ends_with_status_2_and_its_name(argv, named, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(Example, argv)
    assert stop.value.code == 2
    assert named in capsys.readouterr().err


def test_help_shows_defaults(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(Example, ["--help"], prog="x", description="What it is.")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "What it is." in text and "the learning rate (default: 0.001)" in text
    assert "100 % of it (default: 4)" in text


@pytest.mark.parametrize("text", [None, "[1", "3", "[1, 2]"])
def test_a_saved_configuration_that_cannot_be_read_is_named(tmp_path, text):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"read_words: `path` must be .*json, which cannot"):
        read_words(path)


def test_a_configuration_is_saved_and_read_with_facts_beside(tmp_path):
    config = Example(2, 0.5, "b", True, tmp_path / "x")
    write_config(config, tmp_path / "config.json", data="abc")
    words = read_words(tmp_path / "config.json", without=("data",))
    assert parse(Example, words) == config
    assert parse(Example, [*words, "--epochs=3", "--no-quick"]).epochs == 3
    some = read_words(tmp_path / "config.json", without=("data", "epochs", "out"))
    assert parse(Example, some) == Example(4, 0.5, "b", True)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
