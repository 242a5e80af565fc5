"""The pytest plugin: light until it is used, and the report where a law is broken."""

import subprocess
import sys

import optax
import pytest

import gradtx
import gradtx_pytest

check_transformation = gradtx_pytest.check_transformation


def test_the_fixture_gives_the_report(check_transformation):
    report = check_transformation(gradtx.identity(), only=["linear"], linear=True)
    assert report.passed == ("linear",)
    with pytest.raises(pytest.fail.Exception, match=r"clip breaks 1 of 1 laws") as failed:
        check_transformation(optax.clip(10.0), only=["linear"], linear=True)
    assert not failed.value.pytrace


MINE = """
import sys
import optax

def test_light():
    assert not {"jax", "gradtx", "hypothesis"} & set(LOADED)

def test_holds(check_transformation):
    check_transformation(optax.identity(), only=["empty_tree"])

def test_breaks(check_transformation):
    check_transformation(optax.clip(10.0), only=["linear"], linear=True)
"""


@pytest.mark.thorough
def test_as_a_plugin(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "import builtins, sys\nbuiltins.LOADED = tuple(sys.modules)\n"
    )
    (tmp_path / "test_mine.py").write_text(MINE)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "gradtx_pytest", "."]
    command += ["-p", "no:hypothesispytest"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "1 failed, 2 passed" in ended.stdout, ended.stdout + ended.stderr
    assert "clip breaks 1 of 1 laws" in ended.stdout and "Traceback" not in ended.stdout
