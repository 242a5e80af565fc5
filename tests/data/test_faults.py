"""What happens to data that is not right, from the first image to the last batch."""

import json
import shutil
from contextlib import nullcontext

import numpy as np
import pytest

from gradtx.data import (
    DataError,
    SkippedImages,
    device_arrays,
    load,
    on_canvas,
    steps_per_epoch,
    train_batches,
    valid_batches,
)

EPOCH = {"batch_size": 12, "seed": 0}


def photos(tree):
    """The data set of a tree, on canvases."""
    return on_canvas(load("folder", data_dir=tree), size=16)


def damage(path):
    """Spoil the pixels; the header, which is checked at the start, stays sound."""
    path.write_bytes(path.read_bytes()[:-1000])
    return path


@pytest.fixture
def spoiled(small_tree):
    """A sound tree but for one training image, and the same tree before that."""
    whole = small_tree.parent / "whole"
    shutil.copytree(small_tree, whole)
    bad = damage(small_tree / "train" / "n03000684" / "n03000684_2.JPEG")
    return photos(small_tree), photos(whole), bad


def where(dataset, path):
    """The index of an image among the training images."""
    return next(i for i in range(len(dataset.train)) if dataset.train[i]["image"] == path)


def test_an_image_that_cannot_be_read_counts_nothing_and_changes_no_other(spoiled, capsys):
    dataset, whole, bad = spoiled
    skipped, rows = SkippedImages(dataset), 0
    for epoch in range(2):
        got = list(train_batches(dataset, epoch=epoch, skipped=skipped, **EPOCH))
        want = list(train_batches(whole, epoch=epoch, **EPOCH))
        assert len(got) == len(want) == steps_per_epoch(dataset, 12)
        for a, b in zip(got, want, strict=True):
            kept = a["weight"] == 1
            np.testing.assert_array_equal(a["image"][kept], b["image"][kept])
            np.testing.assert_array_equal(a["label"][kept], b["label"][kept])
            for row in np.flatnonzero(~kept):  # it repeats an image of the batch
                assert a["weight"][row] == 0
                assert b["label"][row] == dataset.classes.index("n03000684")
                assert any(np.array_equal(a["image"][row], image) for image in b["image"][kept])
                rows += 1
    assert rows == 2 and len(skipped) == 1
    assert skipped.found.keys() == {("train", where(dataset, bad))}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1  # though it was met twice
    assert lines[0].startswith(f"warning: folder: {bad} cannot be read (")


@pytest.mark.parametrize("start", [0, 2, 4])
def test_a_resumed_epoch_leaves_out_the_same_rows(spoiled, start):
    dataset = spoiled[0]
    read = lambda start, **how: list(
        train_batches(dataset, epoch=1, start=start, skipped=SkippedImages(dataset), **how, **EPOCH)
    )
    whole, rest = read(0), read(start, num_threads=1, prefetch=1)
    assert len(rest) == len(whole) - start
    for a, b in zip(whole[start:], rest, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def test_without_leave_to_skip_the_first_is_an_error(spoiled):
    dataset, _, bad = spoiled
    with pytest.raises(DataError, match=f"{bad} cannot be read"):
        list(train_batches(dataset, epoch=0, **EPOCH))
    with pytest.raises(DataError, match=f"{bad} cannot be read"):
        device_arrays(dataset)


def test_whole_arrays_leave_it_out_too(spoiled):
    dataset, whole, bad = spoiled
    got = device_arrays(dataset, skipped=SkippedImages(dataset))
    index = where(dataset, bad)
    assert np.flatnonzero(got["weight"] == 0).tolist() == [index]
    want = device_arrays(whole)["image"]
    others = np.arange(60) != index
    np.testing.assert_array_equal(got["image"][others], want[others])
    np.testing.assert_array_equal(got["image"][index], want[0])  # no black one in batch statistics


def test_sums_over_validation_leave_out_the_images_that_cannot_be_read(small_tree):
    """Also the last one, whose batch is filled up with it."""
    damage(sorted((small_tree / "val").rglob("*.JPEG"))[-1])
    dataset = photos(small_tree)
    batches = list(valid_batches(dataset, batch_size=29, skipped=SkippedImages(dataset)))
    assert [b["weight"].sum() for b in batches] == [29, 0]
    assert all(np.isfinite(b["image"]).all() for b in batches)


def test_too_many_are_an_error_that_names_the_last(small_tree):
    """One of 90 images may be unreadable."""
    for path in sorted((small_tree / "train").rglob("*.JPEG"))[:2]:
        damage(path)
    dataset = photos(small_tree)
    with pytest.raises(DataError, match=r"at most 1 of 90 images .* got one more. folder: .*_[01]"):
        list(train_batches(dataset, epoch=0, skipped=SkippedImages(dataset), **EPOCH))


def test_nothing_is_said_after_the_error_that_ends_the_run(small_tree, capsys):
    """Though the threads that read ahead meet one unreadable image after the other."""
    for path in (small_tree / "train").rglob("*.JPEG"):
        if not path.stem.endswith("_0"):
            damage(path)
    dataset = photos(small_tree)
    skipped = SkippedImages(dataset)
    with pytest.raises(DataError, match="at most 1 of 90 images") as failed:
        list(train_batches(dataset, epoch=0, skipped=skipped, num_threads=4, **EPOCH))
    for index in range(60):  # more from those threads, as late as can be
        with pytest.raises(DataError, match="got one more") if index else nullcontext():
            skipped.add("train", (index + next(iter(skipped.found))[1]) % 60, "late.")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ") and len(skipped) == 1
    named = line.removeprefix("warning: ").removesuffix(" Until then it counts nothing.")
    assert named not in str(failed.value)  # the error names another


def test_a_batch_of_which_nothing_can_be_read_is_an_error(spoiled, capsys):
    dataset = spoiled[0]
    one = EPOCH | {"batch_size": 1}
    skipped = SkippedImages(dataset)
    skipped.allowed = 5
    with pytest.raises(DataError, match=r"no image of a batch could be read. folder: "):
        list(train_batches(dataset, epoch=0, skipped=skipped, **one))
    said = capsys.readouterr().err
    skipped.add("valid", 0, "late.")
    assert len(said.splitlines()) == 1 and capsys.readouterr().err == ""


def test_a_run_that_goes_on_ends_with_the_same_error(small_tree, tmp_path):
    """The image that is one too many is not taken for one that is known."""
    for path in sorted((small_tree / "train").rglob("*.JPEG"))[:2]:
        damage(path)
    dataset = photos(small_tree)
    for _ in range(2):
        skipped = SkippedImages(dataset)
        skipped.save_to(tmp_path / "skipped.jsonl")
        with pytest.raises(DataError, match="at most 1 of 90 images"):
            list(train_batches(dataset, epoch=0, skipped=skipped, **EPOCH))


@pytest.mark.parametrize(("images", "allowed"), [(7_000, 70), (50_000, 100), (20, 1)])
def test_how_many_may_be_unreadable(images, allowed):
    class Fake:
        train = range(images - 10)
        valid = range(10)

    assert SkippedImages(Fake).allowed == allowed


def test_the_list_outlives_the_process(spoiled, tmp_path, capsys):
    dataset, _, bad = spoiled
    path = tmp_path / "skipped.jsonl"
    first = SkippedImages(dataset)
    first.save_to(path)
    assert not path.exists()  # nothing to say
    list(train_batches(dataset, epoch=0, skipped=first, **EPOCH))
    record = json.loads(path.read_text())
    assert record["split"] == "train" and record["index"] == where(dataset, bad)
    capsys.readouterr()
    resumed = SkippedImages(dataset)
    resumed.save_to(path)
    list(train_batches(dataset, epoch=1, skipped=resumed, **EPOCH))
    assert resumed.found == first.found and not capsys.readouterr().err


def test_no_batch_is_ever_empty():
    """6,000 images by 700: 400 are left over in training; 1,000 by 300: the last is filled up."""
    dataset = load("embedded")
    train = list(train_batches(dataset, batch_size=700, seed=0, epoch=0))
    assert [b["weight"].sum() for b in train] == [700] * 8
    valid = list(valid_batches(dataset, batch_size=300))
    assert [b["weight"].sum() for b in valid] == [300, 300, 300, 100]
    smaller = list(valid_batches(dataset, batch_size=1500))
    assert [b["weight"].sum() for b in smaller] == [1000]
    with pytest.raises(DataError, match="must have one batch of training images at least"):
        train_batches(dataset, batch_size=6001, seed=0, epoch=0)


def test_a_class_may_lack_validation_images_but_not_training_images(small_tree):
    shutil.rmtree(small_tree / "val" / "n03028079")
    dataset = photos(small_tree)
    assert len(dataset.classes) == 10 and len(dataset.valid) == 27
    labels = np.concatenate([b["label"] for b in valid_batches(dataset, batch_size=9)])
    assert dataset.classes.index("n03028079") not in labels
    shutil.rmtree(small_tree / "train" / "n03000684")
    with pytest.raises(DataError, match=r"each class of .*val must be in .*train; got n03000684"):
        load("folder", data_dir=small_tree)


def test_a_class_more_or_less_is_another_data_set(small_tree):
    """So a checkpoint of the one is refused for the other, by the fingerprint."""
    before = load("folder", data_dir=small_tree)
    for split in ("train", "val"):
        shutil.rmtree(small_tree / split / "n03028079")
    after = load("folder", data_dir=small_tree)
    assert len(after.classes) == 9 and after.fingerprint != before.fingerprint
