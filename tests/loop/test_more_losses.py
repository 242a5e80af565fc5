"""Losses with class weights, focal and binary ones, Optax's, and what the loop makes of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx import losses as optax_losses
from gradtx.loop import (
    Loop,
    binary_cross_entropy,
    cross_entropy,
    eval_step,
    fit,
    focal_loss,
    train_step,
)
from gradtx.loop.calling import with_label

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4)).astype(np.float32)
LABEL = np.array([0, 3, 2, 2, 1, 3], np.int32)
SOFT = RNG.dirichlet(np.ones(4), 6).astype(np.float32)
MARKS = (RNG.random((6, 4)) < 0.4).astype(np.float32)
W = np.array([0.5, 2.0, 1.0, 0.0], np.float32)
WEIGHT = np.array([1.0, 0.5, 2.0, 0.0, 1.0, 3.0], np.float32)
step = jax.jit(train_step, static_argnums=0)
check = jax.jit(eval_step, static_argnums=0)


def log_softmax(x):
    x = x.astype(np.float64)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def looped(loss, label, *, weight=None, valid_loss=None, logits=LOGITS):
    """The training's loss and the validation's, of a model whose parameters are the logits."""
    apply = lambda params, model_state, batch, **_: (params, model_state)
    loop = Loop(apply, loss, gradtx.sgd(1.0), valid_loss=valid_loss)
    state = loop.init(jnp.asarray(logits))
    batch = {"label": jnp.asarray(label)} | ({} if weight is None else {"weight": weight})
    new, log = step(loop, state, batch)
    assert np.isfinite(new.params).all() or not np.isfinite(logits).all()
    valid = check(loop, state, batch).metrics.row["valid_loss"]
    return float(log["loss"]), float(valid)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_class_weights_are_those_of_pytorchs_weighted_mean(smoothing, weight):
    """sum(weight w[label] ...) / sum(weight w[label]); the smooth part by the weight of each c."""
    log_p, own = log_softmax(LOGITS), np.ones(6) if weight is None else weight.astype(float)
    chosen = log_p[np.arange(6), LABEL]
    losses = -(1 - smoothing) * W[LABEL] * chosen - smoothing / 4 * (W * log_p).sum(-1)
    want = (own * losses).sum() / (own * W[LABEL]).sum()
    loss = partial(cross_entropy, class_weights=W, label_smoothing=smoothing)
    np.testing.assert_allclose(looped(loss, LABEL, weight=weight), want, rtol=2e-6)


def test_class_weights_of_probabilities_leave_the_mean_as_it_is():
    want = -(W * SOFT * log_softmax(LOGITS)).sum(-1).mean()
    got = looped(partial(cross_entropy, class_weights=W), SOFT)
    np.testing.assert_allclose(got, want, rtol=2e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss(gamma):
    log_p = log_softmax(LOGITS)
    for label, q in ((LABEL, np.eye(4)[LABEL]), (SOFT, SOFT)):
        for weights in (None, W):
            w = np.ones(4) if weights is None else weights
            want = -(w * q * (1 - np.exp(log_p)) ** gamma * log_p).sum(-1)
            loss = partial(focal_loss, gamma=gamma, class_weights=weights)
            got = loss(jnp.asarray(LOGITS), {"label": jnp.asarray(label)})
            np.testing.assert_allclose(got, want, rtol=2e-5)


def test_binary_cross_entropy_of_many_labels():
    x = LOGITS.astype(np.float64)
    for smoothing, weight in ((0.0, None), (0.1, None), (0.1, 3.0), (0.0, W)):
        q, w = (1 - smoothing) * MARKS + smoothing / 2, 1.0 if weight is None else weight
        want = (w * q * np.log1p(np.exp(-x)) + (1 - q) * np.log1p(np.exp(x))).mean(-1)
        loss = partial(binary_cross_entropy, label_smoothing=smoothing, pos_weight=weight)
        for marks in (MARKS, MARKS.astype(bool)):
            got = loss(jnp.asarray(LOGITS), {"label": jnp.asarray(marks)})
            np.testing.assert_allclose(got, want, rtol=2e-6)
    np.testing.assert_allclose(looped(loss, MARKS), want.mean(), rtol=2e-6)
    plain = optax.sigmoid_binary_cross_entropy(LOGITS, MARKS).mean(-1)
    got = binary_cross_entropy(jnp.asarray(LOGITS), {"label": jnp.asarray(MARKS)})
    np.testing.assert_allclose(got, plain, rtol=2e-6)
    one = binary_cross_entropy(jnp.asarray(LOGITS[:, 0]), {"label": jnp.asarray(MARKS[:, 0])})
    np.testing.assert_allclose(
        one, optax.sigmoid_binary_cross_entropy(LOGITS[:, 0], MARKS[:, 0]), rtol=2e-6
    )


THREE = np.pad(SOFT[:, :3] / SOFT[:, :3].sum(-1, keepdims=True), ((0, 0), (0, 1)))
NO, YES = MARKS.copy(), MARKS.copy()
NO[:, 1], YES[:, 2] = 0, 1
EXTREME = [
    (partial(cross_entropy, class_weights=W[::-1]), THREE, 3, -np.inf),
    (partial(cross_entropy, class_weights=W, label_smoothing=0.1), LABEL % 3, 3, -np.inf),
    (partial(focal_loss, gamma=0.5), THREE, 3, -np.inf),
    (partial(focal_loss, gamma=2.0), LABEL % 3, 3, -np.inf),
    (binary_cross_entropy, NO, 1, -np.inf),
    (partial(binary_cross_entropy, pos_weight=2.0), YES, 2, np.inf),
]


@pytest.mark.parametrize(("loss", "label", "column", "value"), EXTREME)
def test_an_infinite_logit_that_has_no_share_leaves_value_and_gradient_finite(
    loss, label, column, value
):
    logits = jnp.asarray(LOGITS).at[:, column].set(value)
    total = lambda x: jnp.sum(jnp.asarray(jax.tree.leaves(loss(x, {"label": label}))[0]))
    got, grad = jax.value_and_grad(total)(logits)
    assert np.isfinite(got) and np.isfinite(grad).all() and not grad[:, column].any()
    spoilt = logits.at[3].set(jnp.nan)  # of an example of weight 0
    batch = {"label": label, "weight": jnp.asarray(WEIGHT)}
    total = lambda x: jnp.sum(jnp.asarray(jax.tree.leaves(loss(x, batch))[0]))
    got, grad = jax.value_and_grad(total)(spoilt)
    assert np.isfinite(got) and np.isfinite(grad).all() and not grad[3].any()


@pytest.mark.thorough
def test_sure_predictions_have_finite_gradients_of_the_focal_loss():
    sure = jnp.asarray([[200.0, 0.0], [-200.0, 0.0]])
    for gamma in (0.5, 1.0, 2.0):
        f = lambda x, g=gamma: focal_loss(x, {"label": jnp.array([0, 0])}, gamma=g).sum()
        value, grad = jax.value_and_grad(f)(sure)
        assert np.isfinite(value) and np.isfinite(grad).all() and not grad[0].any()


SIGNS = 2 * MARKS - 1
SHARES = jax.nn.softmax(jnp.asarray(LOGITS))
OF_LABELS = {
    "softmax_cross_entropy_with_integer_labels": LABEL,
    "softmax_cross_entropy": SOFT,
    "safe_softmax_cross_entropy": SOFT,
    "poly_loss_cross_entropy": SOFT,
    "sigmoid_binary_cross_entropy": MARKS,
    "sigmoid_focal_loss": MARKS,
    "hinge_loss": SIGNS,
    "perceptron_loss": SIGNS,
    "sparsemax_loss": MARKS,
    "squared_error": SOFT,
    "l2_loss": SOFT,
    "huber_loss": SOFT,
    "log_cosh": SOFT,
    "cosine_distance": SOFT,
    "kl_divergence": SOFT,
    "kl_divergence_with_log_targets": np.log(SOFT),
    "generalized_kl_divergence": SOFT,
    "multiclass_hinge_loss": LABEL,
    "multiclass_perceptron_loss": LABEL,
    "multiclass_sparsemax_loss": LABEL,
}


QUICK = ("softmax_cross_entropy_with_integer_labels", "sigmoid_focal_loss", "huber_loss")


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.thorough) for n in OF_LABELS],
)
def test_a_loss_of_optax_serves_as_it_is(name):
    """One value for each example; those of two are tried in the loop too."""
    loss, label = getattr(optax_losses, name), jnp.asarray(OF_LABELS[name])
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        want = np.asarray(loss(jnp.asarray(LOGITS), label), np.float64).reshape(6, -1).mean(1)
        got = with_label(loss, None)(jnp.asarray(LOGITS), {"label": label})
        np.testing.assert_allclose(got, want, rtol=1e-5)
        if name in ("huber_loss", "safe_softmax_cross_entropy"):
            mean = np.average(want, weights=WEIGHT)
            np.testing.assert_allclose(looped(loss, label, weight=WEIGHT), mean, rtol=1e-5)
        named = with_label(partial(loss), "y")(jnp.asarray(LOGITS), {"y": label})
        np.testing.assert_allclose(named, want, rtol=1e-5)


def test_the_validation_may_have_another_loss():
    soft = lambda pred, batch: cross_entropy(pred, {"label": jax.nn.one_hot(batch["label"], 4)})
    train, valid = looped(
        partial(cross_entropy, label_smoothing=0.2), LABEL, valid_loss=lambda p, b: 0 * soft(p, b)
    )
    assert train > 0 and valid == 0
    apply = lambda params, model_state, batch, **_: (params, model_state)
    only = lambda pred, batch: cross_entropy(pred, batch, label="mixed")  # which training has
    loop = Loop(apply, only, gradtx.sgd(0.1), valid_loss=cross_entropy)
    _, history = fit(
        loop, loop.init(jnp.asarray(LOGITS)), [{"mixed": SOFT}], [{"label": LABEL}], epochs=1
    )
    want = -log_softmax(LOGITS - 0.1 * np.asarray(jax.nn.softmax(LOGITS) - SOFT) / 6)
    assert history.rows[0]["valid_loss"] == pytest.approx(
        want[np.arange(6), LABEL].mean(), rel=1e-5
    )


def test_sums_and_counts_make_a_mean_over_words():
    """Sequences of many lengths: each word counts the same, whatever its sequence."""
    lengths = jnp.array([1.0, 4.0, 2.0])
    values = jnp.array([3.0, 1.0, 2.0])
    loss = lambda pred, batch: (pred * values * lengths, lengths)
    want = float(np.average(values, weights=lengths))
    assert looped(loss, np.zeros(3), logits=np.ones(3, np.float32)) == pytest.approx((want, want))
    weight = np.array([1.0, 0.5, 0.0], np.float32)
    want = float(np.average(values, weights=lengths * weight))
    got = looped(loss, np.zeros(3), weight=weight, logits=np.ones(3, np.float32))
    assert got == pytest.approx((want, want))


def test_bad_input():
    pred, batch = jnp.asarray(LOGITS), {"label": jnp.asarray(LABEL)}
    with pytest.raises(ValueError, match=r"cross_entropy: .* each of the 4 classes; got shape \(3"):
        cross_entropy(pred, batch, class_weights=[1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"focal_loss: `pred` must be float\[B, C\]"):
        focal_loss(pred[:, 0], batch)
    with pytest.raises(ValueError, match=r"binary_cross_entropy: .* same shape; got .* int32\[6\]"):
        binary_cross_entropy(pred, batch)
    with pytest.raises(ValueError, match=r"`pos_weight` must be .* each of \(4,\); got shape \(2"):
        binary_cross_entropy(pred, {"label": MARKS}, pos_weight=[1.0, 2.0])
    with pytest.raises(TypeError, match=r"Loop: `valid_loss` must be a function; got 3"):
        Loop(lambda *a, **k: None, cross_entropy, gradtx.sgd(0.1), valid_loss=3)
    with pytest.raises(TypeError, match=r"`loss` must be a function of \(pred, batch\); got ctc"):
        Loop(lambda *a, **k: None, optax.ctc_loss, gradtx.sgd(0.1))
    with pytest.raises(ValueError, match=r"squared_error: the batch must be a dict with .*'label'"):
        loop = Loop(
            lambda params, model_state, batch, **_: (batch["x"], model_state),
            optax.squared_error,
            gradtx.sgd(0.1),
        )
        state = loop.init(jnp.ones(()))
        train_step(loop, state, {"x": jnp.ones(3), "y": jnp.ones(3)})


def test_what_is_no_probability_no_class_and_no_weight_is_found():
    two = {"label": jnp.array([[0, 2], [1, 1]])}
    assert np.isnan(binary_cross_entropy(jnp.zeros((2, 2)), two)).tolist() == [True, False]
    batch = {"label": jnp.array([0])}
    for loss in (cross_entropy, focal_loss):
        with pytest.raises(ValueError, match=r"no weight of a class may be negative; got -1"):
            jax.jit(lambda pred, loss=loss: loss(pred, batch, class_weights=[1.0, -1.0]))(
                jnp.zeros((1, 2))
            )
        with pytest.raises(ValueError, match=r"`pred` must have at least two classes; got float32"):
            loss(jnp.zeros((1, 1)), batch)
