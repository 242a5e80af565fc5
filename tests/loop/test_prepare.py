"""What is done to a batch first: with which key, in which phases, and the same in every driver."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx import augment
from gradtx.loop import Hook, Rows, compiled_fit, eval_step, fit, population, take, train_step
from gradtx.loop.prepared import prepare_key, prepared
from tests.loop import small

NUMBERED = {**small.DATA, "id": jnp.arange(small.EXAMPLES, dtype=jnp.int32)}
noise = augment.each_image(
    lambda x, key: x + 0.1 * jax.random.normal(key, x.shape, x.dtype), inputs="x"
)


train = jax.jit(train_step, static_argnums=0)
check = jax.jit(eval_step, static_argnums=0)


def close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


def noisy(*hooks):
    return replace(small.make(*hooks), prepare=noise)


def batches(epoch, start=0, data=NUMBERED):
    return [take(data, rows) for rows in small.orders()[epoch]][start:]


def test_a_step_is_a_step_on_the_prepared_batch():
    loop, batch = noisy(), batches(0)[0]
    state = small.start(loop)
    seen = noise(batch, prepare_key(state, batch))
    assert np.all(np.asarray(seen["x"]) != np.asarray(batch["x"]))
    got, log = train(loop, state, batch)
    want, want_log = train(small.make(), state, seen)
    close((got.params, log), (want.params, want_log))
    checked = check(loop, state, batch)  # nothing is random in validation
    close(checked.metrics, check(small.make(), state, batch).metrics)


def test_validation_gets_no_key_and_rows_are_gathered_first():
    keys = []

    def prepare(batch, key):
        keys.append(key)
        return {**batch, "x": batch["x"] + 1}

    loop = replace(small.make(), prepare=prepare)
    state, rows = small.start(loop), small.orders()[0, 0]
    for training in (True, False):
        got = prepared(loop, state, Rows(NUMBERED, rows), training=training)
        np.testing.assert_array_equal(got["x"], NUMBERED["x"][rows] + 1)
    assert keys[0] is not None and keys[1] is None


def test_the_key_is_of_the_seed_and_the_epoch_and_of_no_step():
    loop, batch = noisy(), batches(0)[0]
    state = small.start(loop)
    key = lambda **changes: jax.random.key_data(prepare_key(state.replace(**changes), batch))
    one = jnp.int32(1)
    np.testing.assert_array_equal(key(), key(step=one, batch=one))
    assert (key() != key(epoch=one)).any() and (key() != key(key=jax.random.key(1))).any()
    for step in (0, 1, 2**31 - 1):
        of_step = jax.random.fold_in(state.key, step)
        assert (key() != jax.random.key_data(of_step)).any()
    # Examples without numbers draw anew at every step.
    bare = take(small.DATA, small.orders()[0, 0])
    own = [prepare_key(state.replace(step=jnp.int32(s)), bare) for s in (0, 1)]
    assert (jax.random.key_data(own[0]) != jax.random.key_data(own[1])).any()


def seen_in(loop, state, data):
    """The examples that a fit's steps saw, by their numbers: {(epoch, id): x}."""
    found = []  # a list: loops that close over equal dicts would share a program, and this one's

    def keep(x, ids, epoch):
        found.extend(((int(epoch), int(i)), np.array(row)) for i, row in zip(ids, x, strict=True))

    def before_batch(own, context):
        if context.training:
            seen = context.batch["x"], context.batch["id"], context.epoch
            jax.debug.callback(keep, *seen)
        return own, context

    loop, state = loop.with_hooks(state, [Hook("keep", {"before_batch": before_batch})])
    fit(loop, state, data, epochs=2)
    jax.effects_barrier()
    return dict(found)


def test_an_example_draws_the_same_whatever_the_batch_size_and_where_it_resumes():
    loop = noisy()
    state = small.start(loop, seed=5)
    whole = seen_in(loop, state, batches)
    assert len(whole) == 2 * small.EXAMPLES
    assert all((whole[0, i] != whole[1, i]).all() for i in range(small.EXAMPLES))
    rows = lambda epoch: small.orders()[epoch].ravel()[::-1].reshape(-1, 4)
    fours = seen_in(loop, state, lambda epoch, start: [take(NUMBERED, r) for r in rows(epoch)])
    half = state.replace(level=jnp.int32(3), epoch=jnp.int32(1), batch=jnp.int32(1))
    resumed = seen_in(loop, half, batches)
    assert len(resumed) == small.EXAMPLES - small.BATCH
    for other in (fours, resumed):
        for at, x in other.items():
            np.testing.assert_allclose(x, whole[at], rtol=1e-6)


@pytest.mark.thorough
def test_host_loop_and_compiled_fit_train_the_same():
    loop = noisy()
    state = small.start(loop)
    host, _ = fit(loop, state, batches, [take(NUMBERED, r) for r in small.VALID_ORDER], epochs=2)
    data = NUMBERED, small.orders(), NUMBERED, small.VALID_ORDER
    compiled, _, _ = jax.jit(compiled_fit, static_argnums=0)(loop, state, *data)
    close(host.params, compiled.params)


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match=r"Loop: `prepare` must be a function; got 3"):
        replace(small.make(), prepare=3)


def test_a_batch_that_is_lost_or_loses_its_weight_is_named():
    state, batch = small.start(small.make()), {**batches(0)[0], "weight": jnp.ones(small.BATCH)}
    lose = lambda batch, key: {name: x for name, x in batch.items() if name != "weight"}
    for prepare, kind, said in (
        (lambda batch, key: None, TypeError, "must return the batch; got None"),
        (lose, ValueError, "must keep the entry 'weight', .* got id, x, y"),
    ):
        with pytest.raises(kind, match=f"Loop: `prepare` {said}"):
            prepared(replace(small.make(), prepare=prepare), state, batch, training=False)


def test_each_of_a_population_draws_by_its_own_seed():
    loop = noisy()
    seeds = jnp.arange(2)
    states = jax.vmap(lambda seed: small.start(loop, seed=seed))(seeds)
    run = jax.jit(population, static_argnums=0, static_argnames="how")
    together, _, _ = run(loop, states, NUMBERED, small.orders(1), how="vmap")
    for i in range(2):
        alone, _ = fit(loop, small.start(loop, seed=i), batches, epochs=1)
        close(jax.tree.map(lambda x, i=i: x[i], together.params), alone.params)
    assert (together.params["w1"][0] != together.params["w1"][1]).any()
