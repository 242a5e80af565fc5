"""Files are written whole or not at all, and appended to piece by piece."""

import errno
import os

import pytest

from gradtx.files import Appending, write_atomically


@pytest.mark.parametrize("data", ["text of many letters: é\n", b"\x00\xff", ""])
def test_what_is_written_is_there_and_nothing_else(tmp_path, data):
    path = tmp_path / "x"
    path.write_text("old")
    write_atomically(str(path), data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch, where):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "x"
    path.write_text("old")
    monkeypatch.setattr(where, full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_replaced(tmp_path):
    (tmp_path / ".x.new").write_text("ha")
    write_atomically(tmp_path / "x", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x", "new")]


def test_pieces_that_cannot_be_appended_wait(tmp_path):
    path = tmp_path / "x"
    path.mkdir()  # which nobody can write to
    file = Appending(path)
    file.try_to_write([b"a"])
    with pytest.raises(OSError):
        file.write([b"b"])
    path.rmdir()
    file.write()
    assert path.read_bytes() == b"ab" and not file.waiting
    file.write([b"c"])
    assert path.read_bytes() == b"abc"
