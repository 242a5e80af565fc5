"""The generated command line."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from gradtx.config import command, convert, option, parse


@dataclass(frozen=True)
class Example:
    epochs: int = option(4, "passes over the data, 100 % of it")
    lr: float = option(1e-3, "the learning rate")
    kind: Literal["a", "b"] = option("a", "which one")
    quick: bool = option(False, "less of everything")
    out: Path | None = option(None, "where to write")
    names: tuple[str, ...] = option((), "several words")
    mode: Literal["fast", "exact"] = option("fast", "how")
    shown: tuple[Literal["accuracy", "precision_per_class", "recall_per_class"], ...] | None = (
        option(None, "what is shown beside the losses")
    )

    GROUPS: ClassVar = {"the run": ("x --epochs 2", ("epochs", "quick", "out"))}


def test_a_list_is_a_tuple_from_the_command_line_and_from_json():
    got = parse(Example, ["--names", "a", "b", "--epochs", "2"])
    assert got == Example(epochs=2, names=("a", "b"))
    assert convert(Example, {"names": ["a", "b"]}, "x") == {"names": ("a", "b")}
    with pytest.raises(ValueError, match="invalid list: 'a'"):
        convert(Example, {"names": "a"}, "x")


def test_a_command_gives_the_options_again():
    options = Example(2, -0.5, "b", True, Path("a run's"), ("one", "two words"))
    line = command(options, prog="x.py", kind="a", epochs=3)
    assert line == (
        "python x.py --epochs 3 --lr=-0.5 --quick --out 'a run'\"'\"'s' --names one 'two words'"
    )
    assert parse(Example, shlex.split(line)[2:]) == Example(
        3, -0.5, "a", True, options.out, options.names
    )
    assert command(Example(), prog="x.py") == "python x.py"
    assert command(options, prog="x.py", without=("out", "names", "lr", "kind", "epochs")) == (
        "python x.py --quick"
    )


def test_an_option_that_is_almost_one_is_told_which(capsys):
    with pytest.raises(SystemExit):
        parse(Example, ["--epoch", "2"], prog="x")
    told = "error: x: unrecognized arguments: --epoch 2: did you mean --epochs? See --help.\n"
    assert capsys.readouterr().err == told


def test_help_has_groups_with_an_example_each(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        parse(Example, ["--help"], prog="x")
    text = capsys.readouterr().out
    assert "\nthe run:\n  x --epochs 2\n\n  --epochs INT" in text
    assert max(map(len, text.splitlines())) < 60
    assert "False" not in text


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


def test_other_defaults_take_the_place_of_the_dataclasss_own():
    got = parse(Example, ["--epochs=3", "--no-quick"], defaults={"epochs": 2, "quick": True})
    assert got == Example(epochs=3)
    assert parse(Example, [], defaults={"out": Path("x")}) == Example(out=Path("x"))


def test_saved_values_get_the_types_of_their_fields():
    saved = {"epochs": 2, "lr": 1, "kind": "b", "quick": True, "out": "runs/x"}
    got = convert(Example, saved, "x.json")
    assert Example(**got) == Example(2, 1.0, "b", True, Path("runs/x"))
    assert type(got["lr"]) is float
    assert convert(Example, {"out": None}, "x.json") == {}


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("epochs", "two", "argument --epochs: invalid int value: 'two'. See --help."),
        ("epochs", 2.5, "argument --epochs: invalid int value: '2.5'. See --help."),
        ("epochs", True, "argument --epochs: invalid int value: True"),
        ("lr", [1], "argument --lr: invalid float value"),
        ("kind", "c", "argument --kind: invalid choice: 'c' (choose from 'a', 'b')"),
        ("quick", 1, "argument --quick: invalid bool value: 1"),
        ("out", "", "argument --out: a path must not be empty"),
        ("epchs", 2, "unrecognized arguments: --epchs=2: did you mean --epochs? See --help."),
        ("zzz", 2, "unrecognized arguments: --zzz=2. See --help."),
        (
            "mode",
            "fsat",
            "argument --mode: invalid choice: 'fsat' (choose from 'fast', 'exact'): did",
        ),
    ],
)
def test_a_saved_value_that_a_field_cannot_have_is_named(name, value, said):
    with pytest.raises(ValueError, match=f"^x.json: {re.escape(said)}"):
        convert(Example, {name: value}, "x.json")
