"""Where checkpoints are: under any name; and a save counts only if it can be opened again."""

import os
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import pytest

from gradtx.checkpoint import restore, save, saving
from tests.checkpoint.test_restore import assert_same


@pytest.mark.parametrize(
    "name",
    [
        *("lr[0.1]", "a\\b", "a**b", "gs:/x", "two\nlines", os.fsdecode(b"caf\xe9"), "x" * 250),
        *("a?b/{c,d}", "'\"$HOME", "%41#?=&;|", "x.orbax-checkpoint-tmp-1"),
    ],
)
def test_every_name_that_the_file_system_allows_works(tmp_path, monkeypatch, name):
    """Absolute and relative, and where the directory of temporary files is as odd."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t[m]p").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t[m]p"))
    state = {"w": jnp.arange(3.0), "n": jnp.zeros((), jnp.int32)}
    for directory in (name, tmp_path / name):
        save(directory, state, step=1)
        assert_same(restore(directory, state).state, state)
    assert not list((tmp_path / "t[m]p").iterdir())


def test_a_checkpoint_that_cannot_be_opened_again_does_not_count(tmp_path, monkeypatch):
    state = {"w": jnp.arange(3.0), "n": jnp.zeros((), jnp.int32)}

    def other(path, targets):
        return {name: jnp.ones(x.shape, x.dtype) for name, x in targets.items()}

    def none(path, targets):
        raise ValueError("NOT_FOUND: what the pattern matches")

    for read, said in ((other, "n was read again with other values"), (none, "opened again: NOT_")):
        monkeypatch.setattr(saving, "read", read)
        with pytest.raises(OSError, match=said):
            save(tmp_path / "c", state, step=1)
        assert not list((tmp_path / "c").iterdir())


def test_what_tensorstore_says_after_a_failed_write_is_kept_back(tmp_path, monkeypatch):
    """Tracebacks from its threads; those of others are shown as before."""
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    for step in (1, 2):
        save(tmp_path, {"w": jnp.ones(3)}, step=step)
    for said in ("Event loop is closed", "another"):
        sys.unraisablehook(SimpleNamespace(exc_value=RuntimeError(said)))
    assert [str(each.exc_value) for each in shown] == ["another"]
