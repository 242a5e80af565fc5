"""The pipeline's batches: contents, order, exact resume, shards and the padded last batch."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradtx.data import (
    DataError,
    Order,
    device_arrays,
    load,
    only_readable,
    steps_per_epoch,
    train_batches,
    valid_batches,
)
from gradtx.data.array_source import ArraySource
from gradtx.data.dataset import Dataset


def numbered(train: int = 50, valid: int = 11, side: int = 4) -> Dataset:
    """Return a data set whose image i is i everywhere and whose label is i."""

    def source(count):
        labels = np.arange(count, dtype=np.int32)
        images = np.broadcast_to(labels[:, None, None, None], (count, side, side, 1))
        return ArraySource(images.astype(np.uint8), labels)

    classes = tuple(map(str, range(train)))
    return Dataset(
        "numbered", classes, source(train), source(valid), 1, (0.25,), (0.5,), "numbered-1"
    )


def digests(batches) -> list[str]:
    return [
        hashlib.sha256(b["image"].tobytes() + b["label"].tobytes()).hexdigest() for b in batches
    ]


def labels(batches) -> np.ndarray:
    return np.concatenate([b["label"] for b in batches])


options = {"batch_size": 8, "seed": 3, "epoch": 2}


def test_an_epoch_is_full_batches_of_distinct_images_as_they_are():
    dataset = numbered()
    batches = list(train_batches(dataset, **options))
    assert len(batches) == steps_per_epoch(dataset, 8) == 6
    for b in batches:
        assert b.keys() == {"image", "label", "weight", "id"}
        assert b["image"].shape == (8, 4, 4, 1) and b["image"].dtype == np.uint8
        assert b["label"].dtype == b["id"].dtype == np.int32 and b["weight"].dtype == np.float32
        np.testing.assert_array_equal(b["weight"], 1)
        np.testing.assert_array_equal(b["label"], b["id"])
        np.testing.assert_array_equal(b["image"], dataset.train.images[b["id"]])
    assert len(set(labels(batches))) == 48


def test_each_epoch_is_shuffled_anew():
    orders = [labels(train_batches(numbered(), **options | {"epoch": epoch})) for epoch in (0, 1)]
    assert all((np.sort(order) != order).any() for order in orders)
    assert (orders[0] != orders[1]).any()
    # Classes that stand together in the source are mixed in the first batch already.
    assert np.ptp(orders[0][:8]) > 8


def test_the_order_depends_on_seed_and_epoch_alone():
    a = digests(train_batches(load("embedded"), batch_size=500, seed=1, epoch=0))
    again = train_batches(
        load("embedded"), batch_size=500, seed=1, epoch=0, num_threads=1, prefetch=1
    )
    assert a == digests(again)
    for seed, epoch in ((1, 1), (2, 0)):
        other = train_batches(load("embedded"), batch_size=500, seed=seed, epoch=epoch)
        assert not set(a) & set(digests(other))


@pytest.mark.parametrize("start", [0, 1, 7, 11, 12])
def test_resumed_in_mid_epoch_the_rest_is_byte_identical(start):
    embedded = load("embedded")
    options = {"batch_size": 500, "seed": 0, "epoch": 5}
    whole = digests(train_batches(embedded, **options))
    assert digests(train_batches(embedded, start=start, **options)) == whole[start:]

    first = train_batches(embedded, **options)
    for _ in range(start):
        next(first)
    state = first.get_state()
    first.close()
    assert state == {"next_index": start}
    resumed = train_batches(embedded, **options)
    resumed.set_state(state)
    assert digests(resumed) == whole[start:]


def test_shards_put_together_are_the_whole_batch():
    whole = list(train_batches(load("embedded"), batch_size=600, seed=0, epoch=0))
    parts = [
        list(train_batches(load("embedded"), batch_size=600, seed=0, epoch=0, shard=(i, 3)))
        for i in range(3)
    ]
    for step, b in enumerate(whole):
        for key in b:
            got = np.concatenate([part[step][key] for part in parts])
            np.testing.assert_array_equal(got, b[key])
    parts = [list(valid_batches(numbered(), batch_size=4, shard=(i, 2))) for i in (0, 1)]
    got = np.concatenate([np.stack([b["weight"] for b in part]) for part in parts], axis=1)
    assert got.ravel().tolist() == [1] * 11 + [0]


@pytest.mark.parametrize("batch_size", [1, 4, 11, 16])
def test_validation_is_every_image_once_with_the_last_batch_padded(batch_size):
    batches = list(valid_batches(numbered(), batch_size=batch_size))
    assert {b["image"].shape for b in batches} == {(batch_size, 4, 4, 1)}
    weight = np.concatenate([b["weight"] for b in batches])
    assert weight.dtype == np.float32 and set(weight) <= {0, 1}
    np.testing.assert_array_equal(labels(batches)[weight == 1], np.arange(11))
    image = np.concatenate([b["image"] for b in batches])[weight == 1]
    np.testing.assert_array_equal(image, device_arrays(numbered(), split="valid")["image"])


def test_device_arrays_are_the_plain_split_in_order():
    whole = device_arrays(load("embedded"))
    assert whole["image"].shape == (6000, 28, 28, 1) and whole["weight"].sum() == 6000
    assert whole["image"].dtype == np.uint8 and whole["id"].tolist() == list(range(6000))
    np.testing.assert_array_equal(whole["image"], load("embedded").train.images)
    with pytest.raises(DataError, match=r"fit into 0\.0 GiB.*Raise the limit"):
        device_arrays(load("embedded"), limit=1000)
    with pytest.raises(DataError, match="'train' or 'valid'; got 'test'"):
        device_arrays(load("embedded"), split="test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 51}, "numbered must have one batch .* got 50 with batch_size=51"),
        ({"batch_size": 0}, "`batch_size` must be positive; got 0"),
        ({"seed": -1}, "`seed` and `epoch` must be 0 or more"),
        ({"epoch": -1}, "`seed` and `epoch` must be 0 or more"),
        ({"start": 7}, r"`start` must be in 0\.\.6 batches; got 7"),
        ({"shard": (0, 3)}, "n a divisor of the batch size 8"),
        ({"shard": (2, 2)}, "0 <= i < n"),
    ],
)
def test_bad_numbers_are_refused_before_iteration(change, message):
    with pytest.raises(DataError, match=message):
        train_batches(numbered(), **options | change)


def test_an_order_replaces_what_cannot_be_read_as_the_batches_do():
    order = Order(np.array([[3, 1, 2], [0, 4, 5]]), np.ones((2, 3), np.float32))
    got = only_readable(order, np.array([False, True, True, False, False, False]))
    assert got.indices.tolist() == [[1, 1, 2], [0, 4, 5]]
    assert got.weight.tolist() == [[0, 1, 1], [0, 0, 0]] and got.weight.dtype == np.float32


def test_empty_validation_is_refused():
    with pytest.raises(DataError, match="numbered has no validation images"):
        valid_batches(numbered(valid=0), batch_size=4)
    with pytest.raises(DataError, match="`batch_size` must be positive"):
        valid_batches(numbered(), batch_size=0)


@pytest.mark.parametrize("missing", ["grain", "PIL", "tensorflow_datasets"])
def test_a_missing_extra_is_named_with_its_remedy(tmp_path, missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import gradtx.data\n"
        "sys.modules['gradtx.data.imagenette'].import_tfds()"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    want = rf"gradtx\.data\S* needs {missing}\. Install it with `pip install 'gradtx\[data\]'`\."
    assert re.search(want, done.stderr), done.stderr
