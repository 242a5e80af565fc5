"""The forms of predictions and labels, what is not defined, numbers hard for float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx import metrics
from gradtx.loop.metric import mean_of

RNG = np.random.default_rng(3)
PRED = jnp.asarray(RNG.standard_normal((6, 3)), jnp.float32)
LABEL = jnp.array([0, 2, 1, 1, 0, 2])


def value(metric, pred, label, weight=None, *, parts=1, key="label"):
    """After the batch in so many parts."""
    state, update = metric.init(), jax.jit(metric.update)
    pieces = np.array_split(np.arange(len(label)), parts)
    for rows in pieces:
        batch = {key: label[rows]} | ({} if weight is None else {"weight": weight[rows]})
        state = update(state, pred[rows], batch)
    return np.asarray(jax.jit(metric.compute)(state))


OF_CLASSES = {
    "accuracy": metrics.accuracy(),
    "confusion_matrix": metrics.confusion_matrix(classes=3),
    "f1": metrics.f1(classes=3, average=None),
    "mcc": metrics.mcc(classes=3),
    "balanced_accuracy": metrics.balanced_accuracy(classes=3),
    "top_2": metrics.top_k(2),
    "roc_auc": metrics.roc_auc(classes=3, average=None),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", OF_CLASSES)
def test_soft_labels_low_precision_places_and_parts_give_the_same(name):
    metric = OF_CLASSES[name]
    want = value(metric, PRED, LABEL)
    soft = 0.6 * jax.nn.one_hot(LABEL, 3) + 0.2
    low = PRED.astype(jnp.bfloat16)
    places = value(metric, PRED.reshape(2, 3, 3), LABEL.reshape(2, 3))
    for got in (value(metric, PRED, soft), value(metric, PRED, LABEL, parts=2), places):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    np.testing.assert_allclose(value(metric, low, LABEL), want, atol=0.02)
    weight = jnp.array([1.0, 2.0, 0.0, 1.0, 0.5, 0.0])
    want = value(metric, PRED[weight > 0], LABEL[weight > 0], weight[weight > 0])
    spoilt = jnp.where(weight[:, None] > 0, PRED, jnp.nan)
    np.testing.assert_allclose(
        value(metric, spoilt, jnp.where(weight > 0, LABEL, -7), weight), want, rtol=1e-6
    )


@pytest.mark.parametrize("name", ["f1", "confusion_matrix", "accuracy", "top_2"])
def test_a_label_that_is_no_class_makes_the_value_nan(name):
    for label in (LABEL.at[0].set(3), LABEL.at[0].set(-1)):
        assert np.isnan(value(OF_CLASSES[name], PRED, label)).all()
        idle = jnp.ones(6).at[0].set(0)
        assert np.isfinite(value(OF_CLASSES[name], PRED, label, idle)).all()


def test_marks_other_than_0_and_1_make_the_value_nan():
    for metric in (
        metrics.f1(classes=3, multilabel=True),
        metrics.roc_auc(classes=3, multilabel=True),
    ):
        marks = jnp.array(RNG.integers(0, 2, (6, 3))).at[:2].set([[0, 1, 0], [1, 0, 1]])
        assert np.isfinite(value(metric, PRED, marks)), "0 and 1"
        assert np.isnan(value(metric, PRED, 2 * marks - 1)), "-1 and 1"


def test_one_score_is_that_of_a_yes():
    yes, score = LABEL == 1, PRED[:, :1]
    want = np.mean((np.asarray(score[:, 0]) > 0) == np.asarray(yes))
    for metric in (metrics.accuracy(), metrics.f1(classes=2, average="micro")):
        with pytest.raises(ValueError, match=r"Select the only score with `.at\(lambda pred: pred"):
            value(metric, score, yes)
        assert value(metric.at(lambda pred: pred[..., 0]), score, yes) == pytest.approx(want)
        assert value(metric, score, yes[:, None]) == pytest.approx(want)


def test_whole_numbers_may_be_floats():
    for metric in (
        metrics.recall(classes=3.0),  # pyright: ignore[reportArgumentType]
        metrics.confusion_matrix(classes=3.0),  # pyright: ignore[reportArgumentType]
        metrics.roc_auc(classes=3.0, bins=8.0),  # pyright: ignore[reportArgumentType]
        metrics.top_k(2.0),  # pyright: ignore[reportArgumentType]
    ):
        assert np.isfinite(value(metric, PRED, LABEL)).all()
    pearson = metrics.pearson(outputs=3.0)  # pyright: ignore[reportArgumentType]
    assert np.isfinite(value(pearson, PRED, PRED + 1))


def test_what_is_no_array_or_has_other_weights_is_named():
    metric, batch = metrics.accuracy(), {"label": LABEL}
    with pytest.raises(TypeError, match=r"accuracy: `pred` must be an array; got {'logits': flo"):
        metric.update(metric.init(), {"logits": PRED}, batch)
    with pytest.raises(ValueError, match=r"Metric.update: `weight` must be float\[6\], one"):
        metric.update(metric.init(), PRED, batch, jnp.ones(5))


def test_a_prediction_with_a_nan_is_wrong():
    pred = PRED.at[1].set(jnp.nan)
    assert value(metrics.confusion_matrix(classes=3), pred, LABEL).sum() == 5
    right = np.asarray(jnp.argmax(PRED, axis=1) == LABEL).astype(float)
    right[1] = 0
    assert value(metrics.accuracy(), pred, LABEL) == pytest.approx(right.mean())
    assert value(metrics.recall(classes=3, average="micro"), pred, LABEL) == right.mean()
    assert np.isnan(value(metrics.roc_auc(classes=3), pred, LABEL))


@pytest.mark.thorough
def test_two_classes_by_one_logit_or_two():
    one, label = PRED[:, 0], LABEL > 0
    two = jnp.stack([jnp.zeros(6), one], axis=1)
    for make in (metrics.accuracy, metrics.roc_auc, metrics.average_precision):
        got = [
            value(make(), p, x)
            for p in (one, two)
            for x in (label, label.astype(jnp.int32), label.astype(jnp.float32))
            if not (p is two and x.dtype == jnp.float32)
        ]
        np.testing.assert_allclose(got, got[0], rtol=1e-6)
    of = {"classes": 2, "average": "binary"}
    hits = np.asarray((one > 0) & label).sum()
    assert value(metrics.precision(**of), one, label) == hits / np.asarray(one > 0).sum()
    assert (
        value(metrics.recall(**of), two, label.astype(jnp.int32)) == hits / np.asarray(label).sum()
    )
    classes = (one > 0).astype(jnp.int32)  # that a model predicts itself
    assert value(metrics.recall(**of), classes, label) == hits / np.asarray(label).sum()


def test_of_equal_scores_the_first_class_is_the_larger():
    pred, label = jnp.zeros((3, 3)), jnp.array([0, 1, 2])
    got = [value(metrics.top_k(k), pred, label) for k in (1, 2)]
    np.testing.assert_allclose(got, [1 / 3, 2 / 3], rtol=1e-6)
    assert value(metrics.accuracy(), pred, label) == pytest.approx(1 / 3)


def test_what_is_not_defined_is_nan_and_nothing_out_of_nothing_is_0():
    same = jnp.zeros(6, jnp.int32)
    assert np.isnan(value(metrics.roc_auc(), PRED[:, 0], same))
    assert value(metrics.mcc(classes=3), PRED, same) == 0
    empty = jnp.zeros(6)
    for name, metric in OF_CLASSES.items():
        got = value(metric, PRED, LABEL, empty)
        assert np.isnan(got).all() or not got.any(), name
    y = jnp.full(6, 0.1)
    assert np.isnan(value(metrics.pearson(), PRED[:, 0], y, parts=2))
    assert value(metrics.r2(), y, y, parts=2) == 1
    assert value(metrics.r2(), PRED[:, 0], y, parts=2) == 0
    assert value(metrics.recall(classes=3, average=None, zero_division=1.0), PRED, same)[1] == 1


@pytest.mark.parametrize("mean", [pytest.param(0.0, marks=pytest.mark.thorough), -1e6])
def test_variances_far_from_0_keep_their_digits(mean):
    """A sum of squares in float32 has none left at 1e6 and a deviation of 20."""
    y = (mean + 20 * RNG.standard_normal(2000)).astype(np.float32)
    pred = (y + 10 * RNG.standard_normal(2000)).astype(np.float32)
    a, b = pred.astype(np.float64), y.astype(np.float64)
    want = 1 - np.square(a - b).sum() / np.square(b - b.mean()).sum()
    got = value(metrics.r2(), jnp.asarray(pred), jnp.asarray(y), parts=4)
    np.testing.assert_allclose(got, want, rtol=1e-4)
    got = value(metrics.pearson(), jnp.asarray(pred), jnp.asarray(y), parts=4)
    np.testing.assert_allclose(got, np.corrcoef(a, b)[0, 1], rtol=1e-4)


def test_several_outputs():
    y = jnp.asarray(RNG.standard_normal((6, 3)), jnp.float32)
    each = [value(metrics.r2(), PRED[:, i], y[:, i]) for i in range(3)]
    got = value(metrics.r2(outputs=3, average=None), PRED, y, parts=2)
    np.testing.assert_allclose(got, each, rtol=1e-4)
    np.testing.assert_allclose(value(metrics.r2(outputs=3), PRED, y), np.mean(each), rtol=1e-4)
    np.testing.assert_allclose(
        value(metrics.mae(), PRED, y), np.abs(np.asarray(PRED - y)).mean(), rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"r2: `pred` must be float\[B\]; got \[6, 3\]"):
        value(metrics.r2(), PRED, y)
    with pytest.raises(ValueError, match="mse: `pred` and the label must have one shape"):
        value(metrics.mse(), PRED[:, :1], y[:, 0])


def test_scores_of_every_size_are_ranked():
    """Also infinite ones, and those far beyond where a sigmoid is 1 in float32."""
    pred = jnp.array([-jnp.inf, -1e30, -50.0, -1e-3, 1e-3, 50.0, 1e3, jnp.inf])
    label = jnp.array([0, 0, 1, 0, 1, 1, 0, 1])
    pairs = [(p, n) for p in pred[label == 1] for n in pred[label == 0]]
    got = value(metrics.roc_auc(bins=1024), pred, label)
    bound = value(metrics.roc_auc(bins=1024, bound=True), pred, label)
    assert abs(got - np.mean([p > n for p, n in pairs])) <= bound + 1e-6 and bound <= 0.1


def test_a_pair_of_sums_and_counts_is_a_mean_of_all_terms():
    metric = mean_of(lambda pred, batch: (pred * batch["n"], batch["n"]))
    batch = {"n": jnp.array([1.0, 3.0]), "weight": jnp.array([1.0, 0.5])}
    state = metric.update(metric.init(), jnp.array([2.0, 4.0]), batch)
    assert float(metric.compute(state)) == pytest.approx((2 + 0.5 * 12) / (1 + 0.5 * 3))
