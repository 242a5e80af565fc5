"""The README's Python blocks run, and print what it says."""

import re

import pytest

from tests.markdown import ROOT, check_output, run

README = ROOT / "README.md"


def test_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(README)
    check_output(README, capsys.readouterr().out)


@pytest.mark.parametrize("mark", ["train", "tests"])
def test_the_two_commands_are_there(mark):
    assert re.search(rf"<!-- {mark} -->\s*```bash\n.+\n```", README.read_text())
