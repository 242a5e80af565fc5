"""Cross-entropy and accuracy, against Optax and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradtx.loop import accuracy, cross_entropy

LOGITS = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
LABEL = np.array([0, 3, 2, 2, 1])


def float64(logits, target):
    logits = logits.astype(np.float64)
    return -(target * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum(-1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classes_and_probabilities_give_the_same_as_the_formula(smoothing):
    target = np.eye(4)[LABEL]
    want = float64(LOGITS, (1 - smoothing) * target + smoothing / 4)
    for label in (jnp.asarray(LABEL), jnp.asarray(target, jnp.float32)):
        got = cross_entropy(jnp.asarray(LOGITS), {"label": label}, label_smoothing=smoothing)
        np.testing.assert_allclose(got, want, rtol=1e-5)
    smooth = optax.smooth_labels(jnp.asarray(target, jnp.float32), smoothing)
    np.testing.assert_allclose(got, optax.softmax_cross_entropy(LOGITS, smooth), rtol=1e-5)


def test_half_precision_logits_are_summed_in_float32():
    low = jnp.asarray(LOGITS, jnp.float16)
    got = cross_entropy(low, {"label": jnp.asarray(LABEL)})
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, float64(np.asarray(low), np.eye(4)[LABEL]), rtol=1e-5)


def test_a_class_that_does_not_exist_is_nan():
    got = cross_entropy(jnp.asarray(LOGITS), {"label": jnp.array([0, 4, -1, 2, 1])})
    assert np.isnan(got).tolist() == [False, True, True, False, False]


def test_accuracy():
    best = LOGITS.argmax(-1)
    label = np.where(np.arange(5) < 2, best, (best + 1) % 4)
    for form in (jnp.asarray(label), jax.nn.one_hot(label, 4)):
        got = accuracy(jnp.asarray(LOGITS), {"label": form})
        assert got.tolist() == [1, 1, 0, 0, 0] and got.dtype == jnp.float32


def test_a_logit_of_minus_infinity_costs_nothing_where_the_label_has_no_share():
    """As where a class is masked: the value and the gradient are those without the class."""
    masked, label = jnp.asarray(LOGITS).at[:, 3].set(-jnp.inf), LABEL % 3
    soft = 0.7 * np.eye(3)[label] + 0.3 * np.eye(3)[(label + 1) % 3]
    for target in (np.eye(3)[label], soft):
        padded = jnp.asarray(np.pad(target, ((0, 0), (0, 1))), jnp.float32)
        f = lambda x, target=padded: cross_entropy(x, {"label": target})
        np.testing.assert_allclose(f(masked), float64(LOGITS[:, :3], target), rtol=1e-5)
        grad = jax.grad(lambda x, f=f: f(x).sum())(masked)
        p = np.asarray(jax.nn.softmax(LOGITS[:, :3]))
        np.testing.assert_allclose(grad[:, :3], p - target, atol=1e-6)
        assert not np.any(grad[:, 3])
    hard = cross_entropy(masked, {"label": jnp.asarray(label)})
    np.testing.assert_allclose(hard, float64(LOGITS[:, :3], np.eye(3)[label]), rtol=1e-5)
    smooth = lambda x: cross_entropy(x, {"label": jnp.asarray(label)}, label_smoothing=0.1)
    assert np.isposinf(smooth(masked)).all()  # as the formula says: no share is 0
    assert np.isfinite(jax.grad(lambda x: smooth(x).sum())(masked)).all()


def test_logits_or_labels_with_a_nan_are_wrong():
    logits = jnp.asarray(LOGITS).at[0].set(jnp.nan).at[1, 2].set(jnp.nan)
    best = LOGITS.argmax(-1)
    best[0] = 0  # which argmax says of a row of NaN
    best[1] = 2
    assert accuracy(logits, {"label": jnp.asarray(best)}).tolist() == [0, 0, 1, 1, 1]
    soft = jax.nn.one_hot(best, 4).at[2, 0].set(jnp.nan)
    assert accuracy(logits, {"label": soft}).tolist() == [0, 0, 0, 1, 1]


def test_bad_input():
    with pytest.raises(ValueError, match=r"cross_entropy: `label_smoothing` must be in \[0, 1\)"):
        cross_entropy(jnp.asarray(LOGITS), {"label": jnp.asarray(LABEL)}, label_smoothing=1.0)
    for f in (cross_entropy, accuracy):
        with pytest.raises(ValueError, match=r"`pred` must be float\[B, C\].*int32\[4\]"):
            f(jnp.asarray(LOGITS), {"label": jnp.zeros(4, jnp.int32)})


@pytest.mark.parametrize("function", [cross_entropy, accuracy])
def test_what_is_no_array_is_refused(function):
    message = (
        rf"^{function.__name__}: `pred` and the label must be arrays; got \(float32\[5, 4\],\)"
    )
    with pytest.raises(TypeError, match=message):
        function((jnp.asarray(LOGITS),), {"label": jnp.asarray(LABEL)})
    with pytest.raises(TypeError, match=r"must be arrays; got float32\[5, 4\] and \[int"):
        function(jnp.asarray(LOGITS), {"label": LABEL.tolist()})
