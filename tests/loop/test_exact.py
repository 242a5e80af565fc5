"""One meaning everywhere: the table of docs/exactness.md, for the backend that the tests run on.

Compiled as users do: unoptimized, XLA rounds a step otherwise inside a loop than alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import gradtx
from gradtx import augment, hooks
from gradtx.loop import (
    Loop,
    accuracy,
    compiled_fit,
    cross_entropy,
    fit,
    from_linen,
    population,
    take,
)
from gradtx.models import MLP, resnet_tiny
from tests.loop import small

EPOCHS, STEPS, BATCH, EXAMPLES = 2, 4, 8, 40
_rng = np.random.default_rng(0)
DATA = {
    "image": _rng.integers(0, 256, (EXAMPLES, 12, 12, 3), np.uint8),
    "label": _rng.integers(0, 10, EXAMPLES).astype(np.int32),
    "id": np.arange(EXAMPLES, dtype=np.int32),
}
VALID = np.arange(2 * BATCH, dtype=np.int32).reshape(2, BATCH)
HOOKS = {
    "clip": lambda: hooks.clip_gradients(0.5),
    "skip": hooks.skip_nonfinite,
    "ema": lambda: hooks.ema_params(0.9),
    "accumulate": lambda: hooks.accumulate_gradients(12),
    "best": lambda: hooks.save_best(restore=True),
    "plateau": hooks.reduce_on_plateau,
    "scaling": lambda: hooks.loss_scaling(interval=2),
}
NORMALIZE = augment.normalize([0.5] * 3, [0.25] * 3)
PREPARE = {
    "plain": [NORMALIZE],
    "moved": [augment.shift(1 / 4), augment.flip(), NORMALIZE],
    "mixed": [augment.flip(), NORMALIZE, augment.mixup(0.4, classes=10)],
}


def orders(seed):
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(EXAMPLES)[: STEPS * BATCH].reshape(STEPS, BATCH) for _ in range(EPOCHS)]
    return np.stack(rows).astype(np.int32)


@pytest.mark.thorough
@pytest.mark.parametrize("make", [MLP, resnet_tiny])
@settings(max_examples=2, phases=[Phase.explicit, Phase.generate])
@given(
    st.lists(st.sampled_from(sorted(HOOKS)), unique=True, max_size=4),
    st.sampled_from(sorted(PREPARE)),
    st.sampled_from([2, 3, 7]),
    st.integers(0, 2**31 - 1),
)
def test_a_call_a_step_blocks_a_compiled_fit_and_a_member_of_a_population_are_the_same_bits(
    make, names, how, steps, seed
):
    model = make(num_classes=10)
    variables = model.init(jax.random.key(seed), jnp.zeros((BATCH, 12, 12, 3)), train=True)
    params = variables.pop("params")
    loop = Loop(
        apply=from_linen(model),
        loss=cross_entropy,
        tx=gradtx.adamw(0.01),
        metrics={"accuracy": accuracy},
        hooks=[HOOKS[name]() for name in names],
        prepare=augment.compose(*PREPARE[how]),
    )
    start = loop.init(params, variables, seed=seed)
    order = orders(seed)
    train = lambda epoch, first: [take(DATA, rows) for rows in order[epoch][first:]]
    valid = [take(DATA, rows) for rows in VALID]
    host, history = fit(loop, start, train, valid, epochs=EPOCHS, steps_per_execution=1)
    blocks, its = fit(loop, start, train, valid, epochs=EPOCHS, steps_per_execution=steps)
    on_device = jax.tree.map(jnp.asarray, DATA)
    data = on_device, jnp.asarray(order), on_device, jnp.asarray(VALID)
    whole, logs, _ = jax.jit(compiled_fit, static_argnums=0)(loop, start, *data)
    two = jax.tree.map(lambda *x: jnp.stack(x), start, loop.init(params, variables, seed=seed + 1))
    many, _, _ = jax.jit(population, static_argnums=0)(loop, two, *data)
    small.assert_same(blocks, host)
    small.assert_same(whole, host)
    small.assert_same(jax.tree.map(lambda x: x[0], many), host)
    jax.tree.map(np.testing.assert_array_equal, its.steps, history.steps)
    alive = np.asarray(logs["alive"]).reshape(-1)
    np.testing.assert_array_equal(
        np.asarray(logs["loss"]).reshape(-1)[alive], history.steps["loss"]
    )


@pytest.mark.thorough
def test_two_runs_are_the_same_bits():
    loop = small.make()
    first, second = small.run(loop)[0], small.run(loop)[0]
    small.assert_same(first, second)
