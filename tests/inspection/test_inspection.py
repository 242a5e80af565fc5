"""Figures of batches and predictions: what is drawn is what was given, without the padding."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gradtx import data, sgd
from gradtx.augment import normalize
from gradtx.inspection import confusion, show_batch, show_results, top_losses
from gradtx.loop import Loop, cross_entropy

RNG = np.random.default_rng(0)
NAMES = ("cat", "dog", "$eel$")
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.5)
IMAGES = RNG.integers(0, 256, (10, 4, 4, 3), np.uint8)
LABELS = RNG.integers(0, 3, 10).astype(np.int32)
LOGITS = RNG.normal(size=(10, 3)).astype(np.float32)
WEIGHT = np.array([1, 1, 0, 1, 1, 1, 1, 1, 1, 0.5], np.float32)


def batches(**changes):
    whole = {"image": IMAGES, "label": LABELS, "weight": WEIGHT, "logits": LOGITS} | changes
    return [{name: x[i : i + 5] for name, x in whole.items()} for i in (0, 5)]


def apply(params, model_state, batch, *, key, training):
    assert not training
    return batch["logits"] * params["scale"], model_state


def looked(scale=1.0, **parts):
    loop = Loop(apply, cross_entropy, sgd(0.1), prepare=normalize(MEAN, STD), **parts)
    return loop, loop.init({"scale": jnp.float32(scale)})


KNOWN = {"classes": NAMES, "mean": MEAN, "std": STD}


def drawn(figure):
    """Title and pixels of each image."""
    shown = [ax for ax in figure.axes if ax.images]
    return [(ax.get_title(), np.asarray(ax.images[0].get_array())) for ax in shown]


def probabilities(scale=1.0):
    p = np.exp(np.float64(LOGITS) * scale)
    return p / p.sum(1, keepdims=True)


def test_a_batch_is_shown_as_it_was_before_it_was_normalized():
    shown = drawn(show_batch(batches(), prepare=normalize(MEAN, STD), **KNOWN))
    titles, pixels = zip(*shown, strict=True)
    kept = [0, 1, 3, 4]  # of the first batch, without the row that fills it up
    np.testing.assert_array_equal(np.stack(pixels), IMAGES[kept])
    assert [*titles] == [NAMES[i].replace("$", r"\$") for i in LABELS[kept]]
    # Without a normalization, as they lie in memory; a batch alone; no labels; shares; gray.
    (_, first), *_ = drawn(show_batch({"image": IMAGES}))
    np.testing.assert_array_equal(first, IMAGES[0])
    shares = np.array([[0.25, 0.75, 0], [0, 0, 1]], np.float32)
    shown = drawn(show_batch({"image": IMAGES[:2, ..., :1], "label": shares}, classes=NAMES))
    assert [title for title, _ in shown] == ["75% dog\n25% cat", r"\$eel\$"]
    np.testing.assert_array_equal(shown[0][1], IMAGES[0, ..., 0])
    assert len(drawn(show_batch([(IMAGES, LABELS)], count=7))) == 7


def test_a_source_says_what_it_knows():
    spec = SimpleNamespace(prepare=normalize(MEAN, STD), **KNOWN)
    source = SimpleNamespace(spec=spec, train=lambda epoch, start: batches(), valid=batches)
    (title, pixels), *_ = drawn(show_batch(source))
    assert title == NAMES[LABELS[0]].replace("$", r"\$")
    np.testing.assert_array_equal(pixels, IMAGES[0])
    loop, state = looked()
    assert len(drawn(show_results(loop, state, source))) == 9
    dataset = data.load("embedded")
    (title, pixels), *_ = drawn(show_batch(dataset, count=1))
    assert title in dataset.classes and pixels.shape == (28, 28) and pixels.max() > 100


def test_results_are_the_first_that_count_with_labels_and_predictions():
    loop, state = looked()
    shown = drawn(show_results(loop, state, batches(), count=6, **KNOWN))
    kept = [0, 1, 3, 4, 5, 6]
    np.testing.assert_array_equal(np.stack([x for _, x in shown]), IMAGES[kept])
    p = probabilities()[kept]
    for (title, _), label, row in zip(shown, LABELS[kept], p, strict=True):
        plain = title.replace("\\", "").split("\n")
        assert plain == [NAMES[label], f"{NAMES[row.argmax()]} {row.max():.0%}"]


def test_top_losses_are_the_greatest_in_order_and_a_nan_is_the_greatest():
    loop, state = looked()
    losses = -np.log(probabilities()[np.arange(10), LABELS])
    losses[2] = -1  # weight 0
    order = np.argsort(-losses)[:3]
    shown = drawn(top_losses(loop, state, batches(), count=3, **KNOWN))
    np.testing.assert_array_equal(np.stack([x for _, x in shown]), IMAGES[order])
    for i, (title, _) in zip(order, shown, strict=True):
        assert f"loss {losses[i]:.3g}, label {np.exp(-losses[i]):.1%}" in title
    bad = LOGITS.copy()
    bad[7] = np.nan
    title, pixels = drawn(top_losses(loop, state, batches(logits=bad), count=2, **KNOWN))[0]
    np.testing.assert_array_equal(pixels, IMAGES[7])
    assert "nothing: NaN" in title


def test_confusions_are_counted_without_the_padding():
    loop, state = looked()
    figure = confusion(loop, state, batches(), classes=NAMES)
    want = np.zeros((3, 3), int)
    kept = WEIGHT > 0
    np.add.at(want, (LABELS[kept], LOGITS[kept].argmax(1)), 1)
    (ax,) = figure.axes
    got = np.zeros((3, 3), int)
    for text in ax.texts:
        j, i = text.get_position()
        got[i, j] = int(text.get_text())
    np.testing.assert_array_equal(got, want)
    assert [x.get_text() for x in ax.get_yticklabels()] == ["cat", "dog", r"\$eel\$"]
    bad = LOGITS.copy()
    bad[0] = np.nan
    (ax,) = confusion(loop, state, batches(logits=bad), classes=NAMES).axes
    assert [x.get_text() for x in ax.get_xticklabels()][-1] == "none: NaN"


def test_a_model_is_looked_at_where_it_is_evaluated():
    halved = lambda opt_state, params: jax.tree.map(lambda p: -p, params)
    loop, state = looked(eval_params=halved)
    shown = drawn(show_results(loop, state, batches(), count=1, **KNOWN))
    assert NAMES[LOGITS[0].argmin()] in shown[0][0].replace("\\", "").split("\n")[1]


BATCH = {"image": IMAGES, "label": LABELS}
REFUSED = {
    "no batches": (lambda: show_batch(3), TypeError, "show_batch: `source` must be batches"),
    "none": (
        lambda: show_batch([]),
        ValueError,
        "`source` must have a batch; got none",
    ),
    "no images": (lambda: show_batch({"x": IMAGES}), ValueError, "the batch must be a dict with"),
    "shape": (lambda: show_batch({"image": LABELS}), ValueError, r"images must be \[B, H, W, C\]"),
    "dtype": (lambda: show_batch({"image": IMAGES.astype(int)}), ValueError, "uint8 or floats"),
    "floats": (
        lambda: show_batch({"image": IMAGES.astype(np.float32)}),
        ValueError,
        r"images of floats must be in \[0, 1\], or their normalization known; got values",
    ),
    "mean alone": (lambda: show_batch(BATCH, mean=[0.5]), ValueError, "`mean` and `std` go togeth"),
    "channels": (
        lambda: show_batch({"image": IMAGES / np.float32(255)}, mean=[0.1] * 2, std=[1.0] * 2),
        ValueError,
        "`std` must have a number for each of 3 channels; got 2",
    ),
    "canvases": (
        lambda: show_batch(BATCH | {"size": np.ones((10, 2), np.int32)}),
        ValueError,
        "photos on canvases",
    ),
    "count": (lambda: show_batch(BATCH, count=0), ValueError, "`count` must be"),
    "classes": (
        lambda: confusion(*looked(), batches(), classes=("a",)),
        ValueError,
        "confusion: `classes` must name the 3 classes of the prediction; got 1",
    ),
    "labels": (
        lambda: confusion(*looked(), batches(label=LABELS + 3)),
        ValueError,
        "confusion: labels must be classes",
    ),
    "scores": (
        lambda: top_losses(*looked(), batches(logits=LOGITS[:, :1], label=LABELS * 0)),
        ValueError,
        "top_losses: the prediction must be a score for each class",
    ),
    "padding": (
        lambda: show_results(*looked(), batches(weight=WEIGHT * 0)),
        ValueError,
        "show_results: `source` must have an example that counts; got none",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_photos_of_a_data_set_are_shown_by_their_middle(tmp_path):
    for split, count in (("train", 2), ("val", 1)):
        for name, color in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (30 + i, 20), color).save(folder / f"{i}.png")
    shown = drawn(show_batch(data.load("folder", data_dir=tmp_path)))
    assert sorted(title for title, _ in shown) == ["blue", "blue", "red", "red"]
    for title, pixels in shown:
        np.testing.assert_allclose(
            pixels[5, 5], (255 * (title == "red"), 0, 255 * (title == "blue"))
        )


def test_images_of_nothing_but_nan_are_black_and_a_count_may_be_a_float():
    nan = [{"image": np.full((4, 2, 2, 1), np.nan, np.float32), "label": LABELS[:4]}]
    figure = show_batch(nan, count=3.0)  # pyright: ignore[reportArgumentType]
    assert [int(pixels.max()) for _, pixels in drawn(figure)] == [0, 0, 0]
    how = {**KNOWN, "count": 2.0}
    for show in (show_results, top_losses):
        assert len(drawn(show(*looked(), batches(), **how))) == 2
