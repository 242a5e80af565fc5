"""Optax's own tests, which ship in its wheel, with gradtx's functions in Optax's place."""

import os
import re
import subprocess
import sys
from pathlib import Path

import optax
import pytest

from tests.optax_in_place import tests as shipped

PAGE = Path(__file__).parent.parent / "docs" / "optax.md"
ROW = re.compile(r"^\| `(\S+\.py::\S+)` \|", re.MULTILINE)
# What pytest says of a test, or of a subtest, that does not pass.
FAILED = re.compile(r"^(?:FAILED|ERROR|SUBFAILED.*?) \S*?/optax/(\S+\.py(?:::\S+)?)", re.MULTILINE)


def documented():
    """Optax's version on the page, and the tests that are said to fail."""
    section = PAGE.read_text().split("## Optax's own tests\n")[1].split("\n## ")[0]
    version = re.search(r"Optax (\d+\.\d+\.\d+)", section)
    assert version is not None
    return version[1], set(ROW.findall(section))


def failures(chosen, *options):
    """The tests of `chosen` that fail, by file and name, in a process of their own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-rfE", "-o", "addopts="]
    command += ["--import-mode=importlib", "-p", "no:cacheprovider", "--tb=no", *options, *chosen]
    root = str(PAGE.parent.parent)
    done = subprocess.run(
        command, cwd=root, env=env | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stdout[-2000:] + done.stderr[-2000:]
    return set(FAILED.findall(done.stdout))


def test_few_of_optaxs_tests_fail_and_each_has_its_reason():
    _, known = documented()
    assert 0 < len(known) <= 12
    files = {str(path) for path in shipped()}
    assert all(any(f.endswith(name.split("::")[0]) for f in files) for name in known)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("FAILED a/optax/b_test.py::C::test_d - Error", "b_test.py::C::test_d"),
        ("SUBFAILED[of [two] words] ../optax/x/b_test.py::C::d3", "x/b_test.py::C::d3"),
        ("ERROR a/optax/b_test.py - ModuleNotFoundError", "b_test.py"),
    ],
)
def test_what_failed_is_read_off_pytests_summary(line, name):
    assert FAILED.findall(f"1 failed\n{line}\n") == [name]


@pytest.mark.thorough
def test_optaxs_tests_pass_with_ours_in_place():
    pytest.importorskip("sklearn", reason="Optax's tests need scikit-learn")
    version, known = documented()
    if optax.__version__ != version:
        pytest.skip(f"the page speaks of Optax {version}; this is {optax.__version__}")
    failed = failures(map(str, shipped()), "-p", "tests.optax_in_place")
    new = failed - known
    root = Path(optax.__file__).parent
    if new:  # some depend on the machine's rounding, and fail without ours, too
        new -= failures([str(root / name) for name in new])
    assert not new
    assert failed >= known, "the page has tests that pass now"
