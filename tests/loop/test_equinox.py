"""Equinox: the model of `frameworks` is trained as in linen."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradtx.loop import from_equinox, from_linen
from tests.loop.frameworks import CLASSES, FEATURES, LinenNet
from tests.loop.test_adapters import BATCHES, KEY, X, losses

pytest.importorskip("equinox", reason="equinox is in the extra `test`: pip install 'gradtx[test]'")
import equinox as eqx


class EquinoxNet(eqx.Module):
    """The same for one image, channels first."""

    convs: list
    norms: list
    head: eqx.nn.Linear

    def __init__(self, key):
        widths = (3, FEATURES, FEATURES)
        conv = lambda width: eqx.nn.Conv2d(width, FEATURES, 3, padding=1, use_bias=False, key=key)
        norm = lambda: eqx.nn.BatchNorm(FEATURES, "batch", momentum=0.9, mode="batch")
        self.convs, self.norms = [conv(width) for width in widths], [norm() for _ in widths]
        self.head = eqx.nn.Linear(FEATURES, CLASSES, key=key)

    def __call__(self, x, state):
        def layer(i, x, state):
            return self.norms[i](self.convs[i](x), state)

        x, state = layer(0, jnp.moveaxis(x, -1, 0), state)
        x = jax.nn.relu(x)
        y, state = layer(1, x, state)
        y, state = layer(2, jax.nn.relu(y), state)
        x = jax.nn.relu(x + y)
        return self.head(x.mean((1, 2))), state


def equinox_net(params):
    """The Equinox network, and its state, with the parameters of the linen one."""
    model, state = eqx.nn.make_with_state(EquinoxNet)(jax.random.key(0))
    kernels = [params[f"conv{i}"]["kernel"].transpose(3, 2, 0, 1) for i in range(3)]
    head = params["head"]
    where = lambda m: [*(conv.weight for conv in m.convs), m.head.weight, m.head.bias]
    return eqx.tree_at(where, model, [*kernels, head["kernel"].T, head["bias"]]), state


def by_hand(model, own, epochs=2):
    """A plain loop of Equinox's with Optax: the losses, and the validation loss of each epoch."""

    def mean_loss(model, own, batch):
        call = jax.vmap(model, in_axes=(0, None), out_axes=(0, None), axis_name="batch")
        pred, own = call(batch["image"], own)
        losses = optax.softmax_cross_entropy_with_integer_labels(pred, batch["label"])
        return losses.mean(), own

    @eqx.filter_jit
    def train(model, own, state, batch):
        loss = eqx.filter_value_and_grad(mean_loss, has_aux=True)
        (value, own), grads = loss(model, own, batch)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), own, state, value

    check = eqx.filter_jit(lambda *args: mean_loss(*args)[0])
    tx, steps, valid = optax.adamw(0.01), [], []
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))
    for _ in range(epochs):
        for batch in BATCHES:
            model, own, state, value = train(model, own, state, batch)
            steps.append(float(value))
        valid.append(float(check(eqx.nn.inference_mode(model), own, BATCHES[0])))
    return steps, valid


def test_equinox_is_trained_as_linen_and_validated_as_by_hand():
    variables = dict(LinenNet().init(jax.random.key(0), BATCHES[0]["image"], train=False))
    params = variables.pop("params")
    of_linen = losses(from_linen(LinenNet()), params, variables)
    model, own = equinox_net(params)
    apply, params, model_state = from_equinox(model, own)
    with jax.numpy_dtype_promotion("standard"):  # its BatchNorm needs it
        state, steps, row = losses(apply, params, model_state)
        want, valid = by_hand(model, own)
    assert len(steps) == 10
    np.testing.assert_allclose(steps, of_linen[1], rtol=1e-4)
    np.testing.assert_allclose(steps, want, rtol=1e-4)
    # Its statistics of a batch become running ones in another way than Flax's.
    np.testing.assert_allclose(row["valid_loss"], valid[-1], rtol=1e-4)
    assert abs(valid[-1] - valid[0]) > 1e-3 and 0 <= row["accuracy"] <= 1
    trained = eqx.combine(state.params, model)
    np.testing.assert_array_equal(trained.head.bias, state.params.head.bias)
    assert not np.array_equal(trained.head.bias, model.head.bias)


class DroppedEquinox(eqx.Module):
    drop: eqx.nn.Dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x, *, key):
        return self.drop(x, key=key)


def test_each_example_has_a_key_of_its_own_and_none_outside_training():
    apply, params, rest = from_equinox(DroppedEquinox())
    assert rest == {}
    run = lambda key, training: jax.jit(apply, static_argnames="training")(
        params, rest, {"image": X}, key=key, training=training
    )[0]
    np.testing.assert_array_equal(run(KEY, True), run(KEY, True))
    assert not np.array_equal(run(KEY, True), run(jax.random.key(4), True))
    assert len({row.tobytes() for row in np.asarray(run(KEY, True) == 0)}) > 1
    np.testing.assert_array_equal(run(KEY, False), X)


def test_a_module_for_a_whole_batch():
    norm = eqx.nn.Lambda(lambda x: x - x.mean(0)[None])
    apply, params, _ = from_equinox(norm, inputs=0, per_example=False)
    pred = apply(params, {}, (X,), key=KEY, training=True)[0]
    np.testing.assert_allclose(pred, X - X.mean(0), rtol=1e-6)


class Needy(eqx.Module):
    def __call__(self, x, mask):
        return x


REFUSED = [
    (lambda: from_equinox(EquinoxNet), r"from_equinox: `model` must be an equinox\.Module"),
    (lambda: from_equinox(equinox_net_alone()), r"with state needs it; .*make_with_state"),
    (lambda: from_equinox(Needy()), r"from_equinox: `model` must be a function of \(x\); got"),
]


def equinox_net_alone():
    return eqx.nn.make_with_state(EquinoxNet)(KEY)[0]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_is_no_such_module_is_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
