"""The command `gradtx`: what it hands its words to."""

import pytest

from gradtx.__main__ import main


def test_its_help_shows_each_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert "gradtx report RUN" in said and "gradtx predict RUN IMAGE" in said


@pytest.mark.parametrize("argv", [[], ["train"]])
def test_another_command_is_refused(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: gradtx: ")


@pytest.mark.parametrize("command", ["report", "predict"])
def test_a_command_says_what_is_no_run(command, tmp_path, capsys):
    assert main([command, str(tmp_path), "x.png"][: 2 + (command == "predict")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
