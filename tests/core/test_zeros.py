"""What an optimizer never moves is found in its program."""

import jax
import jax.numpy as jnp
import optax
import pytest

import gradtx
from gradtx.core.zeros import never_moves

PARAMS = {"a": jnp.ones((2, 3)), "b": jnp.ones(3), "scalar": jnp.ones(())}
STILL = {"a": True, "b": False, "scalar": False}
LABELS = {"a": "still", "b": "rest", "scalar": "rest"}
FIRST, NONE, ALL = (True, False, False), (False,) * 3, (True,) * 3
OPTAX = optax.chain(optax.adam(0.1), optax.freeze(STILL))


@pytest.mark.parametrize(
    ("tx", "want"),
    [
        (gradtx.adamw(0.1), NONE),
        (gradtx.freeze(gradtx.adamw(0.1), "a"), FIRST),
        (gradtx.accumulate(gradtx.freeze(gradtx.adamw(0.1), "a"), 4), FIRST),
        (gradtx.chain(gradtx.freeze(STILL), gradtx.adam(0.1)), FIRST),
        (optax.partition({"still": optax.set_to_zero(), "rest": optax.adam(0.1)}, LABELS), FIRST),
        (optax.chain(optax.adam(0.1), optax.masked(optax.set_to_zero(), STILL)), FIRST),
        (OPTAX, FIRST),
        (optax.MultiSteps(OPTAX, 2), FIRST),
        (optax.apply_if_finite(OPTAX, 2), FIRST),
        # Zero gradients stay zero in Adam, and are moved by a decay.
        (optax.chain(optax.freeze(STILL), optax.adam(0.1)), FIRST),
        (optax.chain(optax.freeze(STILL), optax.adamw(0.1, weight_decay=0.1)), NONE),
        # Another part of what is masked gets its gradients as they are.
        (optax.masked(optax.adam(0.1), STILL), NONE),
        # A rate of the state is set from outside; a schedule may begin at zero.
        (gradtx.sgd(0.0), NONE),
        (optax.inject_hyperparams(optax.sgd)(learning_rate=0.0), NONE),
        (optax.sgd(optax.linear_schedule(0.0, 1.0, 10)), NONE),
        (optax.sgd(0.0), ALL),
    ],
)
def test_zeros_are_followed_through_all_steps(tx, want):
    with jax.numpy_dtype_promotion("standard"):
        assert never_moves(tx.init, tx.update, PARAMS) == want
