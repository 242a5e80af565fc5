"""Every metric against scikit-learn, through the loop: weights, uneven batches, gaps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import metrics
from gradtx.loop import Loop, fit, population
from gradtx.tuning.sweep import padded_order

sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the extra `test`")

CLASSES, COUNT, BATCH, BINS = 4, 61, 8, 4096


def draw(seed):
    """Scores that know something of the labels, some weights of 0, and a rare class."""
    rng = np.random.default_rng(seed)
    share = [0.6, 0.3, 0.08, 0.02]
    label = rng.choice(CLASSES, COUNT, p=share).astype(np.int32)
    logits = 2 * rng.standard_normal((COUNT, CLASSES)) + 2 * np.eye(CLASSES)[label]
    marks = rng.random((COUNT, CLASSES)) < 0.3
    target = 300 + 5 * rng.standard_normal(COUNT)  # far from 0, where sums of squares lose digits
    return {
        "logits": logits.astype(np.float32),
        "label": label,
        "marks": marks.astype(np.float32),
        "target": target.astype(np.float32),
        "guess": (target + rng.standard_normal(COUNT)).astype(np.float32),
        "weight": (rng.random(COUNT) * (rng.random(COUNT) < 0.8)).astype(np.float32),
    }


def margin(d):
    return d["logits"][:, 1] - d["logits"][:, 0]


def shares(d):
    return np.asarray(jax.nn.softmax(d["logits"].astype(np.float64)))


def macro(f, **how):
    """A function of one class and its score, over the classes of which there are both kinds."""

    def mean(d):
        of = lambda c: f(d["label"] == c, shares(d)[:, c], sample_weight=d["weight"])
        there = [c for c in range(CLASSES) if (d["label"][d["weight"] > 0] == c).any()]
        return np.mean([of(c) for c in there])

    return mean


def classes(f, **how):
    return lambda d: f(d["label"], d["logits"].argmax(1), sample_weight=d["weight"], **how)


def marked(f, **how):
    return lambda d: f(d["marks"] > 0, d["logits"] > 0, sample_weight=d["weight"], **how)


def numbers(f, **how):
    return lambda d: f(d["target"], d["guess"], sample_weight=d["weight"], **how)


LABELS = {"labels": range(CLASSES), "zero_division": 0}
of = {"classes": CLASSES}
logits = lambda pred: pred["logits"]
number = {"label": "target"}
both = lambda d: d["label"] == 1
VALUES = {
    "accuracy": (metrics.accuracy().at(logits), classes(sk.accuracy_score)),
    "error_rate": (metrics.error_rate().at(logits), lambda d: 1 - classes(sk.accuracy_score)(d)),
    "top_2": (
        metrics.top_k(2).at(logits),
        lambda d: sk.top_k_accuracy_score(
            d["label"], d["logits"], k=2, sample_weight=d["weight"], labels=range(CLASSES)
        ),
    ),
    "confusion": (
        metrics.confusion_matrix(**of).at(logits),
        classes(sk.confusion_matrix, labels=range(CLASSES)),
    ),
    "confusion_rows": (
        metrics.confusion_matrix(**of, share="label").at(logits),
        classes(sk.confusion_matrix, labels=range(CLASSES), normalize="true"),
    ),
    "confusion_columns": (
        metrics.confusion_matrix(**of, share="prediction").at(logits),
        classes(sk.confusion_matrix, labels=range(CLASSES), normalize="pred"),
    ),
    "confusion_all": (
        metrics.confusion_matrix(**of, share="all").at(logits),
        classes(sk.confusion_matrix, labels=range(CLASSES), normalize="all"),
    ),
    "balanced_accuracy": (
        metrics.balanced_accuracy(**of).at(logits),
        classes(sk.balanced_accuracy_score),
    ),
    "mcc": (metrics.mcc(**of).at(logits), classes(sk.matthews_corrcoef)),
    "mae": (
        metrics.mae(**number).at(lambda pred: pred["guess"]),
        numbers(sk.mean_absolute_error),
    ),
    "mse": (metrics.mse(**number).at(lambda pred: pred["guess"]), numbers(sk.mean_squared_error)),
    "rmse": (
        metrics.rmse(**number).at(lambda pred: pred["guess"]),
        numbers(sk.root_mean_squared_error),
    ),
    "r2": (metrics.r2(**number).at(lambda pred: pred["guess"]), numbers(sk.r2_score)),
    "pearson": (
        metrics.pearson(**number).at(lambda pred: pred["guess"]),
        lambda d: (lambda c: c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]))(
            np.cov(d["guess"].astype(float), d["target"].astype(float), aweights=d["weight"])
        ),
    ),
    "perplexity": (
        metrics.perplexity().at(logits),
        lambda d: np.exp(
            sk.log_loss(d["label"], shares(d), sample_weight=d["weight"], labels=range(CLASSES))
        ),
    ),
}
BINNED = {
    "roc_auc": (metrics.roc_auc, macro(sk.roc_auc_score), of),
    "average_precision": (metrics.average_precision, macro(sk.average_precision_score), of),
    "roc_auc_marks": (
        metrics.roc_auc,
        lambda d: sk.roc_auc_score(d["marks"], d["logits"], sample_weight=d["weight"]),
        of | {"multilabel": True, "label": "marks"},
    ),
    "average_precision_marks": (
        metrics.average_precision,
        lambda d: sk.average_precision_score(
            d["marks"], d["logits"], sample_weight=d["weight"], average="weighted"
        ),
        of | {"multilabel": True, "label": "marks", "average": "weighted"},
    ),
}
for average in ("macro", "micro", "weighted", None):
    how = {"average": average, **LABELS} if average != "macro" else LABELS | {"average": average}
    for name, ours, theirs in (
        ("precision", metrics.precision, sk.precision_score),
        ("recall", metrics.recall, sk.recall_score),
        ("f1", metrics.f1, sk.f1_score),
    ):
        seen = {k: v for k, v in how.items() if k != "labels"} if average == "macro" else how
        VALUES[f"{name}_{average}"] = (
            ours(**of, average=average).at(logits),
            classes(theirs, **seen),
        )
        VALUES[f"{name}_{average}_marks"] = (
            ours(**of, average=average, multilabel=True, label="marks").at(logits),
            marked(theirs, **{k: v for k, v in how.items() if k != "labels"}),
        )
VALUES["f2"] = (
    metrics.f_beta(2.0, **of).at(logits),
    classes(sk.fbeta_score, beta=2.0, average="macro", zero_division=0),
)
EVERY = {name: metric for name, (metric, _) in VALUES.items()}
for name, (make, _, how) in BINNED.items():
    EVERY[name] = make(**how, bins=BINS).at(logits)
    EVERY[f"{name}_bound"] = make(**how, bins=BINS, bound=True).at(logits)


def apply(params, model_state, batch, *, key, training):
    return {"logits": batch["logits"], "guess": batch["guess"], "w": params["w"]}, model_state


def loss(pred, batch):
    return pred["w"] + 0 * batch["target"]


SOME = {name: EVERY[name] for name in ("accuracy", "confusion", "f1_None", "roc_auc", "r2")}
LOOP = Loop(apply, loss, gradtx.sgd(0.0), metrics=EVERY, train_metrics=SOME)
FEW = Loop(apply, loss, gradtx.sgd(0.0), metrics=SOME, train_metrics=SOME)
DATA = draw(0)


@pytest.fixture(scope="module")
def found():
    """Data and rows of a `fit`; the last batch is filled up by rows that are spoilt."""
    data, order = padded_order(DATA, batch_size=BATCH)
    idle = data["weight"] == 0
    for name in ("logits", "guess"):
        data[name] = data[name].copy()
        data[name][idle] = np.nan
    data["label"] = np.where(idle, -5, data["label"]).astype(np.int32)
    batches = [{k: x[rows] for k, x in data.items()} for rows in order]
    state = LOOP.init({"w": jnp.ones(())})
    _, history = fit(LOOP, state, batches, batches, epochs=2)
    return data, order, history.rows


@pytest.mark.parametrize("name", VALUES)
def test_the_value_is_that_of_scikit_learn(found, name):
    row, want = found[2][0], VALUES[name][1](DATA)
    np.testing.assert_allclose(np.array(row[name]), want, rtol=2e-5, atol=2e-6)
    if name in SOME:
        np.testing.assert_allclose(np.array(row[f"train_{name}"]), want, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", BINNED)
def test_a_binned_value_is_within_its_bound(found, name):
    row, want = found[2][0], BINNED[name][1](DATA)
    assert row[f"{name}_bound"] < (0.01 if "auc" in name else 0.1)  # of some ten positive ones
    assert abs(row[name] - want) <= row[f"{name}_bound"] + 1e-6


@pytest.mark.thorough
def test_an_epoch_begins_anew_and_a_compiled_fit_and_a_population_say_the_same(found):
    data, order, rows = found
    for name in EVERY:
        assert rows[0][name] == rows[1][name], name
    train = {k: jnp.asarray(x) for k, x in data.items()}
    args = train, jnp.asarray(order)[None], train, jnp.asarray(order)
    states = jax.vmap(lambda seed: FEW.init({"w": jnp.ones(())}, seed=seed))(jnp.arange(2))
    run = jax.jit(lambda states: population(FEW, states, *args, how="vmap"))
    _, _, columns = run(states)
    for name in SOME:
        for of_state in columns[name]:
            np.testing.assert_allclose(of_state[0], rows[0][name], rtol=1e-5, atol=1e-6)
