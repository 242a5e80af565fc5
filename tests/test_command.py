"""The command `gradtx`: what it hands its words to."""

import sys

import pytest

from gradtx.__main__ import main


def test_its_help_shows_each_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "gradtx train [OPTIONS]" in said and "gradtx report RUN" in said
    assert "gradtx predict RUN IMAGE" in said and "gradtx check MODULE:FACTORY" in said


@pytest.mark.parametrize("argv", [[], ["trian"]])
def test_another_command_is_refused(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: gradtx: ")


@pytest.mark.parametrize("command", ["report", "predict"])
def test_a_command_says_what_is_no_run(command, tmp_path, capsys):
    assert main([command, str(tmp_path), "x.png"][: 2 + (command == "predict")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: gradtx {command} ")


def test_check_hands_its_words_on(capsys):
    assert main(["check", "optax:identity", "--only", "empty_tree"]) == 0
    assert capsys.readouterr().out == "identity keeps all 1 laws: empty_tree.\n"


def test_check_without_hypothesis_says_what_to_install(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("gradtx.testing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    assert main(["check", "optax:identity"]) == 2
    assert capsys.readouterr().err == (
        "error: gradtx.testing needs Hypothesis. Install it with `pip install 'gradtx[testing]'`.\n"
    )
