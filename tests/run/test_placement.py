"""Where images live: batches and trainings are the same wherever that is."""

import io
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import gradtx
from gradtx import augment, data
from gradtx.augment import Augmentation
from gradtx.data import DataError, SkippedImages
from gradtx.loop import Loop, Rows, cross_entropy, fit
from gradtx.loop.rows import gathered
from gradtx.parallel.mesh import make_mesh, place_batches, shard_state
from gradtx.run import image_source, placement

SIDE, CROP = 12, Augmentation()


def jpeg(seed, size):
    rng = np.random.default_rng(seed)
    out = io.BytesIO()
    picture = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(size, Image.BICUBIC)
    picture.save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Twenty training and six validation photos in two classes; one of each split is spoilt."""
    root = tmp_path_factory.mktemp("photos")
    for i in range(26):
        path = root / ("train" if i < 20 else "val") / f"class{i % 2}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = jpeg(i, (24, 18) if i % 3 else (18, 30))
        path.write_bytes(raw[:-60] if i == 7 else raw)
    return root


def source(tree, cache, mesh=None, augmentation=CROP, **how):
    dataset = data.load("folder", data_dir=tree)
    how = {"batch_size": 8, "size": SIDE, "seed": 3} | how
    return image_source(dataset, augmentation=augmentation, cache=cache, mesh=mesh, **how)


def test_rows_on_the_device_are_the_batches_of_the_host(tree, capsys):
    host, device = (source(tree, cache) for cache in ("host", "device"))
    parts = [lambda s, e=e: s.train(e, e) for e in (0, 1)] + [lambda s: s.valid()]
    first = []
    for part in parts:
        pairs = list(zip(part(host), part(device), strict=True))
        assert pairs
        for batch, rows in pairs:
            assert isinstance(rows, Rows)
            got = gathered(rows)
            assert got.keys() == batch.keys() == {"image", "label", "size", "weight", "id"}
            for name, x in batch.items():
                np.testing.assert_array_equal(got[name], x)
                assert got[name].dtype == x.dtype
            first.append(rows.data)
    assert all(rows is first[0] for rows in first[: len(first) - 1])  # copied there once
    assert host.skipped.found == device.skipped.found and len(host.skipped) == 1
    said = capsys.readouterr()
    assert said.out.count("Training images are on the device") == 1
    assert said.err.count("warning: ") == 2  # once by each source


def linear(spec, prepare):
    """A linear model of what `prepare` makes, and its first state."""

    def apply(params, model_state, batch, *, key, training):
        return batch["image"].reshape(len(batch["image"]), -1) @ params["w"], model_state

    loop = Loop(apply, cross_entropy, gradtx.adamw(1e-2), prepare=prepare)
    inputs = spec.size * spec.size * spec.channels
    return loop, loop.init({"w": jnp.zeros((inputs, len(spec.classes)))})


@pytest.mark.thorough
def test_trainings_are_equal_by_the_bit_wherever_the_images_are(tree, tmp_path):
    cached = data.on_canvas(data.load("folder", data_dir=tree), size=SIDE, cache=tmp_path)
    sources = [source(tree, "none")]
    how = {"batch_size": 8, "size": SIDE, "seed": 3, "augmentation": CROP}
    sources += [image_source(cached, cache=cache, **how) for cache in ("host", "device")]
    found = []
    for each in sources:
        loop, state = linear(each.spec, each.spec.prepare)
        state, history = fit(loop, state, each.train, each.valid, epochs=2)
        found.append((state.params["w"], history.steps["loss"], state.metrics.row["valid_loss"]))
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, found[0], other)


def test_on_a_mesh_every_device_has_the_images_and_gathers_its_rows(tree):
    mesh = make_mesh({"data": 4, "fsdp": 2})
    one, spread = source(tree, "host"), source(tree, "device", mesh)

    def scaled(batch, key):
        rest = {name: x for name, x in batch.items() if name != "size"}
        return {**rest, "image": batch["image"][:, :SIDE, :SIDE].astype(np.float32) / 255}

    loop, state = linear(one.spec, augment.compose(scaled, augment.mixup(classes=2)))
    alone, _ = fit(loop, state, one.train, epochs=1)
    batches = place_batches(spread.train, mesh)
    (first, *_) = batches(0, 0)
    assert first.data["image"].sharding.is_fully_replicated
    assert len(first.indices.sharding.device_set) == 8
    assert not first.indices.sharding.is_fully_replicated
    together, _ = fit(loop, shard_state(state, mesh), batches, epochs=1)
    np.testing.assert_allclose(together.params["w"], alone.params["w"], atol=1e-5)
    same = jax.jit(lambda rows: gathered(rows)["image"]).lower(first).compile().as_text()
    moved = re.findall(r"all-gather|all-reduce|all-to-all|collective-permute", same)
    assert not moved  # nothing of the images travels between devices


def test_auto_is_the_device_where_a_quarter_of_the_memory_is_enough(monkeypatch):
    dataset = data.load("embedded")
    need = placement.size_of(dataset)
    assert need == 7000 * (28 * 28 + 4)
    report = lambda free: {"bytes_limit": free + 5, "bytes_in_use": 5}

    class Device:
        def __init__(self, stats):
            self.memory_stats = lambda: stats

    def chosen(cache, *stats):
        devices = [Device(each) for each in stats]
        mesh = type("M", (), {"local_mesh": type("L", (), {"devices": np.array(devices)})})
        return placement.on_device(dataset, cache, mesh)

    assert chosen("auto", report(4 * need))
    assert not chosen("auto", report(4 * need - 1))
    assert not chosen("auto", report(4 * need), report(4 * need - 1))  # the least counts
    assert not chosen("auto", report(4 * need), None)
    assert not chosen("auto", {})
    assert not placement.on_device(dataset, "auto")  # a CPU reports nothing
    assert chosen("device", None) and not chosen("host", report(2**40))


def test_a_batch_without_an_image_is_an_error_on_the_device_too(tree):
    dataset = data.on_canvas(data.load("folder", data_dir=tree), size=SIDE)
    skipped = SkippedImages(dataset)
    resident = placement.Resident(dataset, skipped, None)
    order = data.train_order(dataset, batch_size=1, seed=0, epoch=0)
    with pytest.raises(DataError, match="no image of a batch could be read"):
        list(resident.batches("train", order))
