"""How train.py starts: again for huge pages, but only if it is what Python was started with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEGINNING = (ROOT / "train.py").read_text().split("import math")[0]
SHOW = 'print(__name__, sys.argv[1:], os.environ.get("GLIBC_TUNABLES"), end="")\n'
AGAIN = "__main__ ['--x', 'a b'] glibc.malloc.hugetlb=1"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's")


def ends(tmp_path, *words, stdin=None, **variables):
    """What the beginning of train.py and a line more print, run in one of many ways."""
    (tmp_path / "train.py").write_text(BEGINNING + SHOW)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | variables
    command = [sys.executable, *words, "--x", "a b"]
    where = {"cwd": tmp_path, "env": environment, "input": stdin}
    done = subprocess.run(command, capture_output=True, text=True, check=True, **where)
    return done.stdout


@pytest.mark.parametrize(
    "words", [["train.py"], ["-X", "dev", "-OO", "train.py"], ["-Wignore", "./train.py"]]
)
def test_a_script_starts_again(tmp_path, words):
    assert ends(tmp_path, *words) == AGAIN


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "train"],
        ["-m", "trace", "--count", "-C", "counts", "train.py"],
        ["-m", "cProfile", "-o", "out", "train.py"],
        ["-c", "exec(open('train.py').read())"],
        ["-c", "import runpy; runpy.run_path('train.py', run_name='__main__')"],
        ["-c", "import sys; sys.settrace(lambda *_: None); import train"],
    ],
)
def test_what_another_program_runs_does_not(tmp_path, words):
    said = ends(tmp_path, *words)
    assert "None" in said and "hugetlb" not in said


def test_neither_does_one_that_is_read_from_the_standard_input(tmp_path):
    assert "None" in ends(tmp_path, "-", stdin=BEGINNING + SHOW)


def test_a_variable_turns_it_off(tmp_path):
    assert "None" in ends(tmp_path, "train.py", GRADTX_HUGE_PAGES="0")


def test_debuggers_are_not_replaced(tmp_path):
    said = ends(tmp_path, "-m", "pdb", "-c", "continue", "--", "train.py", stdin="q\n")
    assert "None" in said and "hugetlb" not in said


def test_ctrl_c_while_modules_are_imported_is_a_line(tmp_path):
    later = "import signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(9)\n"
    (tmp_path / "train.py").write_text(BEGINNING + later)
    command = [sys.executable, tmp_path / "train.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 130 and done.stderr == "error: interrupted.\n"
