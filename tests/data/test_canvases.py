"""Photos on canvases, from a cache or decoded when read: equal, whatever happens to the cache."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradtx.data import canvas_builder, canvas_cache, load
from gradtx.data.canvas_source import CanvasSource
from gradtx.data.canvases import on_canvas
from gradtx.data.photo_source import PhotoSource

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photos(small_tree):
    """A data set with a training photo that cannot be read."""
    bad = small_tree / "train" / "n03000684" / "n03000684_2.JPEG"
    bad.write_bytes(bad.read_bytes()[:-1000])
    return load("folder", data_dir=small_tree)


@pytest.fixture
def cached(tmp_path):
    """A function that puts a data set on canvases by a cache, and the lines that were said."""

    def make(dataset, *, processes=0, **how):
        said: list[str] = []
        how = {"size": 24, "cache": tmp_path / "cache", "say": said.append} | how
        return on_canvas(dataset, processes=processes, **how), said

    return make


def same_rows(a, b):
    for split in ("train", "valid"):
        one, other = getattr(a, split), getattr(b, split)
        np.testing.assert_array_equal(one.labels, other.labels)
        indices = np.random.default_rng(0).permutation(len(one))
        got, want = one.rows(indices), other.rows(indices)
        assert got.unreadable == want.unreadable and got.arrays.keys() == want.arrays.keys()
        for name in want.arrays:
            readable = [i for i in range(len(indices)) if i not in want.unreadable]
            x, y = got.arrays[name], want.arrays[name]
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x[readable], y[readable])


def files(cache):
    return sorted(p for p in cache.rglob("*") if p.is_file() and p.name != ".lock")


@pytest.mark.parametrize("processes", [0, 2])
def test_a_cache_gives_what_decoding_gives(photos, cached, tmp_path, processes):
    if processes:  # records of prepared Imagenette have the bytes of their files
        records = [{**r, "image": r["image"].read_bytes()} for r in photos.train.records]
        photos = replace(photos, train=replace(photos.train, records=records))
    direct = on_canvas(photos, size=24)
    first, said = cached(photos, processes=processes)
    assert len(said) == 2 and "Decoding 90 photos, once, into" in said[0]
    assert isinstance(first.train, CanvasSource) and isinstance(direct.train, PhotoSource)
    assert first.canvas == direct.canvas == 41  # ceil(24 / sqrt(.35))
    same_rows(first, direct)
    assert len(first.train.rows(np.arange(60)).unreadable) == 1
    again, said = cached(photos)
    assert not said and len(files(tmp_path / "cache")) == 2
    same_rows(again, direct)
    # Nothing is written among the photos, and nothing without being asked for.
    assert not [p for p in tmp_path.glob("imagenette*/**/*") if p.name in ("pixels", "rows.json")]


def test_what_needs_no_canvas_stays_as_it_is(photos):
    for dataset in (load("embedded"), on_canvas(photos, size=24)):
        assert on_canvas(dataset, size=28) is dataset


def test_a_damaged_canvas_is_drawn_anew_with_a_line(photos, cached, tmp_path):
    cached(photos)
    pixels, rows = files(tmp_path / "cache")
    assert (pixels.name, rows.name) == ("pixels", "rows.json")
    with pixels.open("r+b") as file:
        file.seek(70 * 41 * 62 * 3 + 5000)  # in a canvas of validation
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))
    found, said = cached(photos)
    same_rows(found, on_canvas(photos, size=24))
    same_rows(found, on_canvas(photos, size=24))
    (line,) = said
    assert "is damaged. What is damaged is decoded anew; the next run makes the cache anew" in line
    found, said = cached(photos)
    assert "is damaged: made anew." in said[0] and "Decoding 90 photos" in said[1]
    same_rows(found, on_canvas(photos, size=24))


@pytest.mark.parametrize("change", ["bit", "short", "gone", "text"])
def test_a_cache_that_is_not_whole_is_made_anew(photos, cached, tmp_path, change):
    cached(photos)
    pixels, rows = files(tmp_path / "cache")
    raw = rows.read_bytes()
    if change == "bit":
        rows.write_bytes(raw[:200] + bytes([raw[200] ^ 1]) + raw[201:])
    elif change == "short":
        os.truncate(pixels, 5000)
    elif change == "gone":
        pixels.unlink()
    else:
        rows.write_text("{}")
    found, said = cached(photos)
    assert "is damaged: made anew." in said[0] and len(said) == 3
    same_rows(found, on_canvas(photos, size=24))


def test_a_superseded_cache_is_removed_with_a_line(photos, cached, small_tree, tmp_path, layout):
    cached(photos)
    (path,) = {p.parent for p in files(tmp_path / "cache")}
    foreign = path.parent / "mine"
    foreign.mkdir()
    (small_tree / "train" / "n01440764" / "new.jpg").write_bytes(layout.jpeg(1))
    changed = load("folder", data_dir=small_tree)
    found, said = cached(changed)
    assert f"{path} is of other photos than are there now: made anew." in said[0]
    assert not path.exists() and foreign.exists()
    same_rows(found, on_canvas(changed, size=24))


def test_a_superseded_cache_is_removed_also_where_the_new_one_does_not_fit(
    photos, cached, small_tree, tmp_path, layout
):
    cached(photos)
    cached(photos, size=16)
    assert cached(photos, limit=1)[1][0].startswith("No cache of decoded photos: it would take")
    assert len(files(tmp_path / "cache")) == 4  # they are of these photos
    (small_tree / "train" / "n01440764" / "new.jpg").write_bytes(layout.jpeg(1))
    changed = load("folder", data_dir=small_tree)
    found, said = cached(changed, limit=1)
    assert isinstance(found.train, PhotoSource)
    assert [
        line.endswith("is of other photos than are there now: removed.") for line in said[1:]
    ] == [
        True,
        True,
    ]
    assert not files(tmp_path / "cache")


def test_another_pillow_makes_it_anew(photos, cached, monkeypatch):
    monkeypatch.setattr(canvas_cache.PIL, "__version__", "11.0.0")
    cached(photos)
    monkeypatch.undo()
    _, said = cached(photos)
    assert "is of Pillow 11.0.0, not " in said[0] and "Decoding 90 photos" in said[1]


def test_caches_of_other_canvases_stay_as_the_limit_has_room(photos, cached, tmp_path):
    both = 90 * 3 * (41 * 62 + 28 * 42) + 50_000
    cached(photos)
    cached(photos, size=16, limit=both)
    assert len(files(tmp_path / "cache")) == 4
    assert cached(photos)[1] == []
    _, said = cached(photos, size=17, limit=both)
    assert "Decoding 90" in said[0] and len(files(tmp_path / "cache")) == 4


def test_a_cache_above_the_limit_is_not_made(photos, cached, tmp_path):
    found, (line,) = cached(photos, limit=90 * 41 * 62 * 3 - 1)
    assert "above the limit" in line and "Photos are decoded whenever they are read." in line
    assert isinstance(found.train, PhotoSource) and not (tmp_path / "cache").exists()
    same_rows(found, on_canvas(photos, size=24))


def test_a_full_disk_leaves_nothing_and_a_line(photos, cached, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    for name in ("posix_fallocate", "pwrite"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            found, said = cached(photos)
        assert "No space left on device. Photos are decoded whenever" in said[-1]
        assert isinstance(found.train, PhotoSource) and not files(tmp_path / "cache")
    (tmp_path / "file").write_text("")
    found, (line,) = cached(photos, cache=tmp_path / "file")
    assert "Not a directory" in line
    same_rows(found, on_canvas(photos, size=24))


def test_a_process_that_ends_early_is_a_line(photos, cached, tmp_path, monkeypatch):
    monkeypatch.setattr(canvas_builder.sys, "executable", shutil.which("true"))
    found, said = cached(photos, processes=1)
    assert isinstance(found.train, PhotoSource) and not files(tmp_path / "cache")
    assert said[-1].startswith("No cache of decoded photos in ") and "whenever" in said[-1]


SLOW = """
import sys, time
from gradtx import data
from gradtx.data import canvases, canvas_builder
record = canvas_builder.record_of
canvas_builder.record_of = lambda *a: time.sleep(float(sys.argv[3])) or record(*a)
dataset = data.load("folder", data_dir=sys.argv[1])
canvases.on_canvas(
    dataset, size=24, cache=sys.argv[2], processes=int(sys.argv[4]), say=lambda *a: print(*a, flush=True)
)
"""  # noqa: E501


def start(tree, cache, *, pause, processes):
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", SLOW, str(tree), str(cache), str(pause), str(processes)]
    return subprocess.Popen(command, cwd=ROOT, text=True, **pipes)


@pytest.mark.thorough
def test_of_two_runs_one_decodes_and_the_other_waits(photos, small_tree, tmp_path):
    children = [start(small_tree, tmp_path / "c", pause=0.05, processes=0) for _ in range(2)]
    said = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sum("Decoding 90 photos" in text for text in said) == 1
    assert len(files(tmp_path / "c")) == 2


@pytest.mark.thorough
def test_workers_end_with_a_killed_parent_and_the_next_run_cleans_up(
    photos, small_tree, tmp_path, cached
):
    child = start(small_tree, tmp_path / "cache", pause=0.05, processes=1)
    assert "Decoding" in child.stdout.readline()  # pyright: ignore
    deadline = time.monotonic() + 120
    while not (workers := children_of(child.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert not child.communicate()[1]
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert list((tmp_path / "cache").rglob(".unfinished"))
    found, said = cached(photos)
    assert not list((tmp_path / "cache").rglob(".unfinished")) and len(said) == 2
    same_rows(found, on_canvas(photos, size=24))


def children_of(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()]


def test_a_photo_that_was_unreadable_for_a_while_is_read_later(photos, cached, small_tree):
    path = small_tree / "val" / "n03000684" / "ILSVRC2012_val_00030001.JPEG"
    hidden = path.rename(path.with_suffix(".away"))
    found, _ = cached(photos)
    assert len(found.valid.rows(np.arange(30)).unreadable) == 1
    hidden.rename(path)
    again, said = cached(photos)
    assert not said
    same_rows(again, on_canvas(photos, size=24))


def test_embedded_arrays_and_photos_have_the_same_interface(photos, cached):
    for source in (
        load("embedded").valid,
        on_canvas(photos, size=24).valid,
        cached(photos)[0].valid,
    ):
        any_source: Any = source
        arrays = any_source.rows(np.array([2, 2, 0])).arrays
        assert arrays["image"].dtype == np.uint8 and arrays["label"].dtype == np.int32
        np.testing.assert_array_equal(arrays["image"][0], arrays["image"][1])
        np.testing.assert_array_equal(arrays["label"], any_source.labels[[2, 2, 0]])
