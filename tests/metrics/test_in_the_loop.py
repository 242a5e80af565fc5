"""Metrics in the training state: devices, resuming, hooks that watch them, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import hooks, metrics
from gradtx.checkpoint import resume
from gradtx.loop import Loop, Observer, fit, train_step
from gradtx.loop.likeness import LoopKey
from gradtx.metrics import Metric
from gradtx.observers import checkpoint, jsonl, read_jsonl, table
from gradtx.parallel import make_mesh, place_batches, shard_state
from tests.loop import small

CLASSES = 3
TX = gradtx.adam(0.05)
PARAMS = small.params() | {"w3": jnp.ones((4, CLASSES)).at[0].set(jnp.arange(3.0))}
DATA = small.DATA | {"label": jnp.arange(small.EXAMPLES, dtype=jnp.int32) % CLASSES}


def apply(params, model_state, batch, *, key, training):
    hidden = jnp.tanh(batch["x"] @ params["w1"] + params["b"][None])
    return hidden @ params["w3"], model_state


def loss(pred, batch):
    return jnp.mean(jnp.square(pred - batch["y"][:, None]), axis=1)


def every():
    """Made anew at every call."""
    of = {"classes": CLASSES}
    return {
        "accuracy": metrics.accuracy(),
        "recall": metrics.recall(**of, average=None),
        "confusion": metrics.confusion_matrix(**of),
        "roc_auc": metrics.roc_auc(**of, bins=64),
        "r2": metrics.r2(label="y").at(lambda pred: pred[:, 0]),
    }


def batches(epoch, start):
    weight = np.arange(small.BATCH, dtype=np.float32) % 4
    rows = np.asarray(small.orders(2))[epoch][start:]
    return [{k: np.asarray(x)[row] for k, x in DATA.items()} | {"weight": weight} for row in rows]


VALID = batches(0, 0)[:2]


def make(*hooks, **parts):
    chosen = {"metrics": every(), "train_metrics": every()} | parts
    return Loop(apply, loss, TX, hooks=hooks, **chosen)


def without_time(rows):
    return [{k: x for k, x in row.items() if k != "time"} for row in rows]


@pytest.fixture(scope="module")
def whole():
    loop = make()
    state, history = fit(loop, loop.init(PARAMS), batches, VALID, epochs=2)
    return small.numbers(state), without_time(history.rows)


def test_a_fit_that_is_killed_in_an_epoch_goes_on_to_the_same_figures(whole, tmp_path):
    class Killed(Exception):
        pass

    def kill(report):
        if report.step == 5:
            raise Killed

    def run(*more, **how):
        loop = make()  # its metrics are made anew
        log = jsonl(tmp_path / "m.jsonl")
        saves = checkpoint(tmp_path / "c", every=1, best=("accuracy", "max"), flush=[log])
        seen = [log, saves, *more]
        return fit(loop, loop.init(PARAMS), batches, VALID, epochs=2, observers=seen, **how)

    with pytest.raises(Killed):
        run(Observer({"after_batch": kill}))
    state, history = run(resume=resume(tmp_path / "c", say=lambda line: None))
    small.assert_same(small.numbers(state), whole[0])
    assert without_time(history.rows) == whole[1]
    read = read_jsonl(tmp_path / "m.jsonl").rows
    assert [{k: x for k, x in row.items() if k not in ("step", "digest")} for row in read] == whole[
        1
    ]
    assert np.shape(read[0]["confusion"]) == (3, 3) and np.shape(read[1]["train_recall"]) == (3,)


@pytest.mark.thorough
@pytest.mark.parametrize("mesh", ["data=8", "data=2,fsdp=4"])
def test_sums_are_those_of_all_devices(whole, mesh):
    mesh, loop = make_mesh(mesh), make()
    state = shard_state(loop.init(PARAMS), mesh)
    train, valid = (place_batches(x, mesh) for x in (batches, VALID))
    _, history = fit(loop, state, train, valid, epochs=2)
    for row, want in zip(history.rows, whole[1], strict=True):
        for name in want:
            np.testing.assert_allclose(row[name], want[name], rtol=2e-4, atol=1e-5, err_msg=name)


def test_metrics_that_are_made_anew_share_programs_and_states():
    a, b, other = make(), make(), make(metrics={"recall": metrics.recall(classes=4)})
    assert LoopKey(a) == LoopKey(b) != LoopKey(other)
    assert jax.tree.structure(a.init(PARAMS)) == jax.tree.structure(b.init(PARAMS))
    mine = lambda factor: Metric(
        lambda: jnp.zeros(()), lambda s, pred, batch, weight: s + weight.sum(), lambda s: factor * s
    )
    one, two = (make(metrics={"n": mine(f)}, train_metrics={}) for f in (1.0, 2.0))
    _, history = fit(two, one.init(PARAMS), batches, VALID, epochs=1)
    assert history.rows[0]["n"] == 2 * sum(b["weight"].sum() for b in VALID)


def test_training_metrics_are_those_of_the_batches_that_counted():
    """One is skipped, one weighs nothing."""
    skip = hooks.skip_nonfinite()
    train = [dict(batch) for batch in batches(0, 0)]
    train[0]["y"] = train[0]["y"] + np.nan
    train[1]["weight"] = np.zeros(small.BATCH, np.float32)
    loop = make(skip, metrics={}, train_metrics={"confusion": every()["confusion"]})
    _, history = fit(loop, loop.init(PARAMS), train, epochs=1)
    labels, weight = train[2]["label"], train[2]["weight"]
    want = [weight[labels == c].sum() for c in range(CLASSES)]
    np.testing.assert_allclose(np.sum(history.rows[0]["train_confusion"], axis=1), want)


@pytest.mark.thorough
def test_training_metrics_of_mixed_labels_count_the_largest_share():
    one = {"accuracy": metrics.accuracy()}
    mixed = make(hooks.mixup(classes=CLASSES, inputs="x"), metrics={}, train_metrics=one)
    _, history = fit(mixed, mixed.init(PARAMS), batches, epochs=1)
    assert np.isfinite(history.rows[0]["train_accuracy"])


def test_what_watches_needs_one_number_and_says_so_early():
    message = r"`metric` must be one number an epoch; got 'recall', an array of shape \(3,\)"
    for factory in (hooks.early_stopping, hooks.reduce_on_plateau, hooks.save_best):
        how = {} if factory is hooks.save_best else {"patience": 2}
        with pytest.raises(ValueError, match=f"{factory.__name__}: {message}"):
            make(factory("recall", mode="max", **how)).init(PARAMS)
    loop = make()
    with pytest.raises(ValueError, match=r"observer .* watches 'confusion', .* shape \(3, 3\)"):
        best = Observer({}, watches="confusion", name="mine")
        fit(loop, loop.init(PARAMS), batches, VALID, epochs=1, observers=[best])


@pytest.mark.thorough
def test_the_best_by_a_metric_of_the_training_needs_no_validation():
    few = {"metrics": {}, "train_metrics": {"accuracy": metrics.accuracy()}}
    kept = make(hooks.save_best("train_accuracy", mode="max"), **few)
    state, _ = fit(kept, kept.init(PARAMS), batches, epochs=1)
    assert int(state.hooks["save_best"].epoch) == 0


def test_the_table_leaves_arrays_out(whole, capsys):
    loop = make()
    fit(loop, loop.init(PARAMS), batches, VALID, epochs=1, observers=[table()])
    header = capsys.readouterr().out.splitlines()[0].split()
    train = ["train_loss", "train_accuracy", "train_roc_auc", "train_r2"]
    assert header == ["epoch", *train, "valid_loss", "accuracy", "roc_auc", "r2", "time"]


BAD = {
    "not called": (
        lambda: {"f1": metrics.f1},
        r"metrics\['f1'\]` must be .*call it, if it makes a",
    ),
    "no number": (lambda: {"f1": 3}, r"metrics\['f1'\]` must be a function; got 3"),
    "no dict": (lambda: [metrics.accuracy()], r"`metrics` must be a dict"),
    "two arguments": (
        lambda: {"m": Metric(lambda: 0.0, lambda s, p: s, lambda s: s)},
        r"metrics\['m'\].update` must be a function of \(state, pred, batch, weight\)",
    ),
    "text": (
        lambda: {"m": Metric(lambda: "a", lambda s, p, b, w: s, lambda s: s)},
        r"metrics\['m'\].init: must return a tree of arrays; got str",
    ),
    "a pair": (
        lambda: {"m": Metric(lambda: 0.0, lambda s, p, b, w: s, lambda s: (s, s))},
        r"metrics\['m'\].compute: must return a number or an array of numbers",
    ),
    "raises": (
        lambda: {"m": Metric(lambda: {}, lambda s, p, b, w: s, lambda s: s["x"])},
        r"metrics\['m'\].compute: must not raise; got KeyError",
    ),
    "another dtype": (
        lambda: {"m": Metric(lambda: 0.0, lambda s, p, b, w: jnp.int32(1), lambda s: s)},
        r"metrics\['m'\].update: .* must keep .* got int32\[\] at .* after float32",
    ),
    "shapes": (
        lambda: {"m": metrics.mae(label="y")},
        r"mae: `pred` and the label must have one shape; got float32\[8, 3\] and float32\[8\]",
    ),
    "classes": (
        lambda: {"m": metrics.recall(classes=4)},
        r"recall: `pred` must be float\[B, ..., 4\] .* got float32\[8, 3\] and int32\[8\]",
    ),
    "its name": (lambda: {"train_m": metrics.accuracy()}, "names that begin with 'train_' are"),
    "no name": (lambda: {3: metrics.accuracy()}, "names in `metrics` must be text; got 3"),
    "uncalled": (lambda: {"m": metrics.recall}, r"call it, .* got recall\(\*, classes, average="),
    "a column": (lambda: {"valid_loss": metrics.accuracy()}, "must not have the name of a column"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_metric_is_refused_before_the_fit(case):
    given, message = BAD[case]
    with pytest.raises((TypeError, ValueError), match=message):
        loop = make(metrics=given(), train_metrics={})
        fit(loop, loop.init(PARAMS), batches, VALID, epochs=1)
    if isinstance(given(), dict) and case not in ("its name", "a column"):
        with pytest.raises(
            (TypeError, ValueError), match=message.replace("metrics", "train_metrics")
        ):
            loop = make(metrics={}, train_metrics=given())
            jax.eval_shape(lambda s: train_step(loop, s, VALID[0]), loop.init(PARAMS))


def test_a_state_of_a_loop_with_other_metrics_is_refused():
    loop, other = make(), make(metrics={"accuracy": metrics.accuracy()}, train_metrics={})
    with pytest.raises(ValueError, match=r"a loop with the same metrics, \['accuracy'\] and in tr"):
        fit(other, loop.init(PARAMS), batches, VALID, epochs=1)


def test_a_loss_of_the_validation_is_named_where_it_is_wrong():
    loop = make(metrics={}, train_metrics={}, valid_loss=lambda pred, batch: jnp.mean(pred))
    with pytest.raises(ValueError, match=r"; `valid_loss` got shape \(\)"):
        fit(loop, loop.init(PARAMS), batches, VALID, epochs=1)


def test_factories_refuse_what_cannot_be():
    with pytest.raises(NotImplementedError, match=r"spearman: .* scipy.stats.spearmanr"):
        metrics.spearman()
    with pytest.raises(ValueError, match=r'precision: `average="binary"` is of two classes'):
        metrics.precision(classes=3, average="binary")
    with pytest.raises(ValueError, match="recall: `classes` must be at least 2; got 1"):
        metrics.recall(classes=1)
    with pytest.raises(ValueError, match="roc_auc: `bins` must be at least 2; got 1"):
        metrics.roc_auc(bins=1)
    with pytest.raises(ValueError, match="f1: `average` must be one of"):
        metrics.f1(classes=3, average="mean")
