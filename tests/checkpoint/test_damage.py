"""Damage of every kind is noticed, named, and gone around."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.checkpoint import CheckpointError, clean, entries, restore, save
from gradtx.checkpoint.digests import array_digest, file_digests
from gradtx.sealed import text_digest

ROOT = Path(__file__).parents[2]
STATE = {"x": jnp.arange(3000.0), "n": jnp.int32(1)}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A directory with two checkpoints; `x` differs."""
    directory = tmp_path_factory.mktemp("pair")
    save(directory, STATE, step=10)
    save(directory, STATE | {"x": STATE["x"] + 1}, step=20)
    return directory


@pytest.fixture
def two(pair, tmp_path):
    """A copy of it to damage, and the path of the newer checkpoint."""
    directory = shutil.copytree(pair, tmp_path / "two")
    return directory, directory / entries(directory)[-1].name


def files(path):
    return sorted(p for p in path.rglob("*") if p.is_file())


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def assert_older_is_used(directory, said):
    found = restore(directory, STATE)
    np.testing.assert_array_equal(found.state["x"], STATE["x"])
    assert found.meta.step == 10
    (line,) = found.damaged
    assert "000002-step-20 is damaged" in line and said in line and "\n" not in line


def test_the_newest_is_used_if_all_is_well(two):
    found = restore(two[0], STATE)
    np.testing.assert_array_equal(found.state["x"], STATE["x"] + 1)
    assert found.meta.step == 20 and not found.damaged


def test_one_flipped_bit_in_any_file_is_noticed(two):
    """The first, the last and a middle bit of every file, one after the other."""
    directory, newest = two
    for path in files(newest):
        if not path.stat().st_size:
            continue
        end = 8 * path.stat().st_size
        for bit in (0, end // 2, end - 8):
            flip(path, bit)
            assert_older_is_used(directory, path.name)
            flip(path, bit)
    assert restore(directory, STATE).meta.step == 20


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_file_is_noticed(two, share):
    directory, newest = two
    for path in files(newest):
        whole = path.read_bytes()
        if not whole:
            continue
        path.write_bytes(whole[: int(share * len(whole))])
        assert_older_is_used(directory, path.name)
        path.write_bytes(whole)


def test_a_missing_or_an_extra_file_is_noticed(two):
    directory, newest = two
    for path in files(newest):
        moved = path.rename(directory / "aside")
        assert_older_is_used(directory, f"{path.name} is missing")
        moved.rename(path)
    (newest / "state" / "more").write_text("x")
    assert_older_is_used(directory, "state/more was not saved with it")


def test_if_none_is_intact_the_error_names_all(two):
    directory, _ = two
    for entry in entries(directory):
        (entry.path(directory) / "meta.json").unlink()
    with pytest.raises(CheckpointError, match=r"-20 .*meta.json is missing.*-10 "):
        restore(directory, STATE)


def rewritten(path, change):
    """Change the metadata with a digest that fits, as no damage would."""
    meta = json.loads((path / "meta.json").read_text())["meta"]
    change(meta)
    body = json.dumps(meta, separators=(",", ":"))
    text = f'{{"digest":"{text_digest(body)}","meta":{body}}}'
    (path / "meta.json").write_text(text)


OTHER = ("", "{}", "[]", "null", "[[[", '{"meta": 1}', "\x00" * 50, "[" * 100_000, "ÿ")


@pytest.mark.parametrize("text", OTHER)
def test_metadata_that_is_something_else_is_damage(two, text):
    (two[1] / "meta.json").write_text(text, "latin-1")
    assert_older_is_used(two[0], "meta.json")


def test_a_folder_in_the_place_of_a_file_is_damage(two):
    (two[1] / "meta.json").unlink()
    (two[1] / "meta.json").mkdir()
    assert_older_is_used(two[0], "meta.json")


def test_edited_metadata_is_damage(two):
    path = two[1] / "meta.json"
    path.write_text(path.read_text().replace('"step":20', '"step":21'))
    assert_older_is_used(two[0], "meta.json was altered")


@pytest.mark.parametrize("version", [0, 2])
def test_another_version_of_the_layout_is_refused(two, version):
    rewritten(two[1], lambda meta: meta.update(version=version))
    with pytest.raises(CheckpointError, match=f"must have layout version 1; got {version}"):
        restore(two[0], STATE)


def test_a_leaf_that_is_read_otherwise_than_it_was_saved_is_an_error(two):
    wrong = {"digest": array_digest(np.zeros(1))}
    rewritten(two[1], lambda meta: meta["leaves"]["x"].update(wrong))
    with pytest.raises(CheckpointError, match="x must be read as it was saved"):
        restore(two[0], STATE)


def test_files_that_orbax_cannot_read_are_an_error_in_one_line(two):
    for path in (two[1] / "state").rglob("*"):
        if path.is_file() and path.name != "_METADATA":
            path.unlink()
    left = {name: x for name, x in file_digests(two[1]).items() if name != "meta.json"}
    rewritten(two[1], lambda meta: meta.update(files=left))
    with pytest.raises(CheckpointError, match="must be readable by Orbax") as caught:
        restore(two[0], STATE)
    assert "\n" not in str(caught.value)


def test_what_is_half_written_counts_for_nothing_and_is_cleaned_away(two):
    directory, newest = two
    shutil.copytree(newest, directory / ".000003-step-30.tmp")
    (directory / "notes").mkdir()
    (directory / ".hidden").write_text("kept")
    assert restore(directory, STATE).meta.step == 20
    assert clean(directory) == [".000003-step-30.tmp"]
    assert sorted(p.name for p in directory.iterdir()) == [
        ".hidden", "000001-step-10", "000002-step-20", "notes"
    ]  # fmt: skip
    assert clean(directory / "absent") == []


SPY = """
import os, sys
import jax, jax.numpy as jnp
from gradtx.checkpoint import restore
import orbax.checkpoint
like = {"x": jnp.zeros(3000), "n": jnp.int32(0)}
jax.block_until_ready(like)
seen, on = [], False
events = "pickle.find_class os.system subprocess.Popen os.mkdir os.rename os.remove".split()
def spy(event, args):
    write = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)
    if on and (event in events or write and isinstance(args[0], (str, bytes))):
        seen.append((event, str(args)))
sys.addaudithook(spy)
on = True
restore(sys.argv[1], like)
on = False
print(seen)
"""


def test_reading_runs_nothing_and_writes_nothing(two):
    """Python's own audit events of a restore, and the directory before and after it."""
    look = lambda: {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in two[0].rglob("*")}
    before = look()
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)  # where JAX itself writes
    command = [sys.executable, "-c", SPY, str(two[0])]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
    assert look() == before


def test_nothing_is_pickled(two):
    for path in files(two[1]):
        assert not path.read_bytes().startswith(b"\x80"), path
    for path in (ROOT / "gradtx" / "checkpoint").glob("*.py"):
        assert "import pickle" not in path.read_text()
