"""flatten: an optimizer on vectors does what it does on trees."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx

RNG = np.random.default_rng(0)
normal = lambda *shape: jnp.asarray(RNG.standard_normal(shape), jnp.float32)
PARAMS = {
    "w": normal(3, 2),
    "half": normal(4).astype(jnp.bfloat16),
    "b": {"x": normal(), "y": normal(5)},
}
GRADS = [jax.tree.map(lambda p: normal(*p.shape).astype(p.dtype), PARAMS) for _ in range(3)]
OPTIMIZERS = {
    "adamw": lambda: gradtx.adamw(0.1),
    "schedule": lambda: gradtx.sgd(lambda count: 0.1 / (1 + count), momentum=0.9),
    "clipped": lambda: gradtx.chain(gradtx.clip_by_global_norm(0.5), gradtx.adam(0.1)),
    "wrapped": lambda: gradtx.accumulate(gradtx.master_weights(gradtx.adam(0.1)), 2),
    "optax": lambda: gradtx.chain(optax.scale_by_sign(), gradtx.scale_by_learning_rate(0.1)),
}


def run(tx, params=PARAMS, grads=GRADS):
    state, step = tx.init(params), jax.jit(tx.update)
    for g in grads:
        updates, new = step(g, state, params)
        assert jax.tree.structure(new) == jax.tree.structure(state)
        assert [x.dtype for x in jax.tree.leaves(new)] == [x.dtype for x in jax.tree.leaves(state)]
        params, state = gradtx.apply_updates(params, updates), new
    return params, updates, state


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_is_the_same_optimizer(name):
    want, want_updates, whole = run(OPTIMIZERS[name]())
    got, updates, state = run(gradtx.flatten(OPTIMIZERS[name]()))
    close = lambda a, b: np.testing.assert_allclose(
        a.astype(jnp.float32), b.astype(jnp.float32), rtol=2e-2 if a.dtype == jnp.bfloat16 else 1e-5
    )
    jax.tree.map(close, want, got)
    dtypes = lambda tree: jax.tree.map(lambda x: x.dtype, tree)
    assert dtypes(updates) == dtypes(want_updates)
    assert gradtx.hyperparams(state).keys() == gradtx.hyperparams(whole).keys()


def test_the_state_holds_a_vector_for_each_dtype():
    mu = gradtx.flatten(gradtx.adam(0.1)).init(PARAMS).slots["inner"].slots[0].slots["mu"]
    assert {name: x.shape for name, x in mu.items()} == {"bfloat16": (4,), "float32": (12,)}
    assert {x.dtype for x in mu.values()} == {jnp.dtype(jnp.float32)}


def test_hyperparameters_are_live():
    tx = gradtx.flatten(gradtx.adamw(0.1))
    state = gradtx.set_hyperparams(tx.init(PARAMS), learning_rate=0.0, weight_decay=0.0)
    updates, state = jax.jit(tx.update)(GRADS[0], state, PARAMS)
    assert not any(np.any(x) for x in jax.tree.leaves(updates)) and int(state.count) == 1


def test_groups_go_outside():
    labels = gradtx.label_by(w="w", rest="*")
    parts = lambda wrap: {"w": wrap(gradtx.adam(0.1)), "rest": wrap(gradtx.sgd(0.1))}
    want = run(gradtx.partition(parts(lambda tx: tx), labels))[0]
    got = run(gradtx.partition(parts(gradtx.flatten), labels))[0]
    close = lambda a, b: np.testing.assert_allclose(*(x.astype(jnp.float32) for x in (a, b)), 1e-5)
    jax.tree.map(close, want, got)


GROUPS = gradtx.label_by(norms=gradtx.norm_or_bias, rest="*")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: gradtx.adamw(gradtx.by_group(GROUPS, norms=0.1, rest=1.0)), "scale_by_learning"),
        (lambda: gradtx.masked(gradtx.sgd(0.1), "*"), "masked"),
        (lambda: gradtx.freeze(gradtx.sgd(0.1), "w"), "freeze"),
        (lambda: gradtx.lamb(0.1), "scale_by_trust_ratio"),
        (lambda: gradtx.accumulate(gradtx.centralize(), 2), "centralize"),
        (lambda: gradtx.clip_by_block_rms(1.0), "clip_by_block_rms"),
        (lambda: gradtx.muon(0.1), "partition"),
        (lambda: gradtx.adaptive_grad_clip(0.1), "adaptive_grad_clip"),
        (
            lambda: gradtx.leafwise("mine", lambda h: lambda g, p: g / g.size, per_leaf=True),
            "mine",
        ),
    ],
)
def test_what_treats_leaves_apart_is_refused(make, name):
    with pytest.raises(ValueError, match=f"^flatten: `inner` must treat all .* got .*{name}"):
        gradtx.flatten(make())


def test_a_parameter_without_a_gradient_is_named():
    tx = gradtx.flatten(gradtx.adam(0.1))
    grads = GRADS[0] | {"b": {"x": None, "y": GRADS[0]["b"]["y"]}}
    with pytest.raises(ValueError, match=r"^flatten.update: every .* got None at b/x"):
        tx.update(grads, tx.init(PARAMS), PARAMS)


def test_extra_arguments_like_the_gradients_are_vectors_too():
    seen = []
    inner = gradtx.transformation(
        "seen",
        lambda params: {},
        lambda g, slots, params, h, **extra: (seen.append(extra), (g, slots))[1],
    )
    tx = gradtx.flatten(inner)
    tx.update(GRADS[0], tx.init(PARAMS), PARAMS, grad=GRADS[1], value=1.0)
    assert seen[0]["value"] == 1.0 and seen[0]["grad"].keys() == {"bfloat16", "float32"}
