"""The loop gives every transformation of Optax what it asks for, and validates where it must."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import gradtx
from gradtx.hooks import best_params, loss_scaling, save_best
from gradtx.loop import Loop, compiled_fit, fit, train_step
from gradtx.loop.form import difference
from tests.loop import small
from tests.testing.optax_transformations import ROWS

pytestmark = pytest.mark.usefixtures("standard")


@pytest.fixture
def standard():
    with jax.numpy_dtype_promotion("standard"):
        yield


def apply(params, model_state, batch, *, key, training):
    return batch["x"] @ params["w"], model_state


START = {"w": jnp.zeros(3)}
BATCHES = small.batches()(0, 0) if callable(small.batches()) else small.batches()
ASKING = {
    "lbfgs": lambda: optax.lbfgs(),
    "backtracking": lambda: optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=8)
    ),
    "polyak": lambda: optax.polyak_sgd(max_learning_rate=0.3),
    "sam": lambda: contrib.sam(optax.sgd(0.05), optax.chain(contrib.normalize(), optax.sgd(0.1))),
    "opaque sam": lambda: contrib.sam(
        optax.sgd(0.05), optax.chain(contrib.normalize(), optax.sgd(0.1)), opaque_mode=True
    ),
    "momo": lambda: contrib.momo(0.1),
    "plateau": lambda: optax.chain(optax.sgd(0.1), contrib.reduce_on_plateau(patience=1)),
    "sophia": lambda: contrib.sophia(0.1, update_interval=2),
}


def by_hand(name, epochs):
    """A plain loop of Optax's."""
    tx = ASKING[name]()
    params, state, losses = START, tx.init(START), []
    for batch in list(BATCHES) * epochs:
        value_fn = lambda p, batch=batch: jnp.mean(
            small.loss(apply(p, {}, batch, key=None, training=True)[0], batch)
        )
        value, grads = jax.value_and_grad(value_fn)(params)
        extra = {
            "value": value,
            "grad": grads,
            "value_fn": value_fn,
            "grad_fn": lambda p, _, value_fn=value_fn: jax.grad(value_fn)(p),
            "obj_fn": value_fn,
        }
        takes = inspect.signature(tx.update).parameters
        if "extra_args" not in takes:
            extra = {name: x for name, x in extra.items() if name in takes}
        elif "polyak" not in name:
            extra.pop("grad_fn")
        if "sophia" not in name:
            extra.pop("obj_fn", None)
        tx = optax.with_extra_args_support(tx)
        updates, state = jax.jit(lambda g, s, p, extra=extra, tx=tx: tx.update(g, s, p, **extra))(
            grads, state, params
        )
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    return params, losses


@pytest.mark.parametrize("name", ASKING)
def test_what_asks_for_the_loss_or_the_gradient_elsewhere_gets_it(name):
    loop = Loop(apply, small.loss, ASKING[name]())
    state, history = fit(loop, loop.init(START), BATCHES, epochs=2)
    params, losses = by_hand(name, 2)
    np.testing.assert_allclose(history.steps["loss"], losses, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.params["w"], params["w"], rtol=1e-4, atol=1e-5)


TREE = {"w": jnp.zeros((3, 2)), "b": jnp.zeros(2)}
ACTIVE = lambda params: jax.tree.map(lambda _: True, params)
MORE = {
    "a monitor in a named chain": lambda: optax.named_chain(
        ("seen", optax.monitor({"abs": lambda u: jax.tree.map(jnp.abs, u)})), ("s", optax.sgd(0.1))
    ),
    "a masked monitor": lambda: optax.masked(monitored(optax), ACTIVE),
    "an injected monitor": lambda: optax.inject_hyperparams(lambda rate: monitored(optax, rate))(
        0.1
    ),
    "a monitor in gradtx's": lambda: gradtx.chain(monitored(gradtx), gradtx.sgd(0.1)),
    "a monitor skipped over": lambda: gradtx.skip_if_not_finite(monitored(optax)),
    "an accumulated monitor": lambda: gradtx.accumulate(monitored(optax), 2),
    "snapshot": lambda: optax.chain(optax.adam(0.1), optax.snapshot("norm", optax.tree.norm)),
    "MultiSteps": lambda: optax.MultiSteps(optax.adam(0.1), 2),
    "mechanic": lambda: contrib.mechanize(optax.adam(0.1)),
    "conditional": lambda: optax.conditionally_transform(
        optax.sgd(0.1), lambda step, value, **rest: value > 0, forward_extra_args=True
    ),
    "lbfgs": ASKING["lbfgs"],
    "sophia": ASKING["sophia"],
}


def monitored(library, rate=0.1):
    """Optax's own example: one measurement as it is, and the mean of another."""
    clipped = library.measure_with_ema(lambda u: optax.tree.norm(u) > 0.01, decay=0.9)
    monitor = library.monitor({"norm": optax.tree.norm, "clipped": clipped})
    return library.chain(library.sgd(rate, momentum=0.9), monitor)


def change_of_state(tx, params=TREE):
    """In what form of the state a step is not what it began with."""
    model = lambda p, s, batch, *, key, training: ((batch["x"] @ p["w"] + p["b"][None]).sum(1), s)
    loop = Loop(model, small.loss, tx)
    state = jax.eval_shape(lambda: loop.init(params))
    new, _ = jax.eval_shape(lambda s: train_step(loop, s, BATCHES[0]), state)
    return difference(new, state)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_step_is_made_with_every_transformation_of_optax(row):
    assert not change_of_state(row.factory(**row.claims.get("hyperparams", {})))


@pytest.mark.parametrize("name", MORE)
def test_a_step_is_made_with_what_is_built_of_them(name):
    assert not change_of_state(MORE[name]())


@pytest.mark.parametrize("library", [optax, gradtx], ids=["optax", "gradtx"])
def test_what_a_monitor_has_seen_is_in_the_state(library):
    loop = Loop(apply, small.loss, monitored(library))
    state, _ = fit(loop, loop.init(START), BATCHES, epochs=1)
    tx, params = monitored(optax), START
    own = tx.init(params)
    for batch in BATCHES:
        objective = lambda p, batch=batch: jnp.mean(small.loss(batch["x"] @ p["w"], batch))
        updates, own = tx.update(jax.grad(objective)(params), own, params)
        params = optax.apply_updates(params, updates)
    for name in ("norm", "clipped"):
        got, want = (optax.tree.get(s, name) for s in (state.opt_state, own))
        assert got.shape == () and want > 0
        np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(state.params["w"], params["w"], rtol=1e-5)


def from_the_first(start, update):
    return optax.GradientTransformation(lambda params: start, update)


# Each would become another optimizer if what it lacks at first were filled with zeros.
CHANGING = {
    "an average that begins with the first gradient": from_the_first(
        None,
        lambda g, s, p=None: (g, g if s is None else jax.tree.map(lambda a, b: 0.9 * a + b, s, g)),
    ),
    "the first gradient kept": from_the_first(None, lambda g, s, p=None: (g, s or g)),
    "a list that grows": from_the_first((), lambda g, s, p=None: (g, (*s, g["w"]))),
    "another shape": from_the_first(jnp.zeros(2), lambda g, s, p=None: (g, s[:1])),
    "an entry that goes": from_the_first(jnp.zeros(2), lambda g, s, p=None: (g, ())),
    "a narrower dtype": from_the_first(
        jnp.zeros(()), lambda g, s, p=None: (g, s.astype(jnp.bfloat16))
    ),
}


@pytest.mark.parametrize("name", CHANGING)
def test_a_state_that_changes_its_form_is_refused_before_the_fit_begins(name):
    loop = Loop(apply, small.loss, CHANGING[name])
    message = r"^fit: the state must keep its .*; `train_step` makes .* at opt_state.*Let what ret"
    with pytest.raises(ValueError, match=message):
        fit(loop, loop.init(START), BATCHES, epochs=1)


def test_what_hooks_do_to_the_gradient_is_done_to_the_one_elsewhere():
    got = []
    for hooks in ((), (loss_scaling(),)):
        loop = Loop(apply, small.loss, ASKING["opaque sam"](), hooks=hooks)
        got.append(fit(loop, loop.init(START), BATCHES, epochs=2)[0].params["w"])
    np.testing.assert_allclose(*got, rtol=1e-5)


def test_a_part_of_a_chain_gets_what_it_takes():
    sam = ASKING["opaque sam"]
    runs = []
    for tx in (sam(), optax.chain(optax.identity(), sam()), gradtx.chain(sam(), gradtx.identity())):
        loop = Loop(apply, small.loss, tx)
        runs.append(fit(loop, loop.init(START), BATCHES, epochs=1)[0].params["w"])
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-6)
    np.testing.assert_allclose(runs[2], runs[0], rtol=1e-6)


def test_an_update_that_takes_one_of_the_arguments_gets_it_alone():
    sgd = optax.sgd(0.1)
    update = lambda updates, state, params=None, *, value: sgd.update(updates, state, params)
    loop = Loop(apply, small.loss, optax.GradientTransformationExtraArgs(sgd.init, update))
    want = Loop(apply, small.loss, sgd)
    run = lambda loop: fit(loop, loop.init(START), BATCHES, epochs=1)[0].params["w"]
    np.testing.assert_array_equal(run(loop), run(want))


EVALUATED = {
    "gradtx": (lambda: gradtx.schedule_free_sgd(0.1), gradtx.schedule_free_eval_params),
    "optax": (lambda: contrib.schedule_free_sgd(0.1), contrib.schedule_free_eval_params),
    "average": (
        lambda: gradtx.chain(gradtx.sgd(0.1), gradtx.transforms.ema_params(0.5)),
        gradtx.transforms.averaged_params,
    ),
}


def valid_loss(params):
    pairs = [(apply(params, {}, b, key=None, training=False)[0], b) for b in BATCHES]
    return float(jnp.mean(jnp.concatenate([small.loss(*pair) for pair in pairs])))


@pytest.mark.parametrize("name", EVALUATED)
def test_validation_and_the_best_are_at_the_declared_parameters(name):
    make, eval_params = EVALUATED[name]
    loop = Loop(apply, small.loss, make(), hooks=[save_best()], eval_params=eval_params)
    state, history = fit(loop, loop.init(START), BATCHES, BATCHES, epochs=2)
    want = eval_params(state.opt_state, state.params)
    assert not np.allclose(want["w"], state.params["w"], rtol=1e-3)
    np.testing.assert_allclose(history.rows[-1]["valid_loss"], valid_loss(want), rtol=1e-5)
    np.testing.assert_allclose(loop.evaluated_params(state)["w"], want["w"], rtol=1e-6)
    assert history.rows[1]["valid_loss"] < history.rows[0]["valid_loss"]
    np.testing.assert_allclose(best_params(state)[0]["w"], want["w"], rtol=1e-6)
    # Training is not disturbed.
    plain = Loop(apply, small.loss, make())
    alone, _ = fit(plain, plain.init(START), BATCHES, epochs=2)
    np.testing.assert_allclose(state.params["w"], alone.params["w"], rtol=1e-6)
    np.testing.assert_array_equal(plain.evaluated_params(alone)["w"], alone.params["w"])


def test_what_gives_no_parameters_is_refused():
    loop = Loop(apply, small.loss, gradtx.sgd(0.1), eval_params=gradtx.schedule_free_eval_params)
    with pytest.raises(ValueError, match=r"schedule_free_eval_params: `state` must hold the state"):
        fit(loop, loop.init(START), BATCHES, BATCHES, epochs=1)
    with pytest.raises(TypeError, match=r"Loop: `eval_params` must be a function of \(opt_st"):
        Loop(apply, small.loss, gradtx.sgd(0.1), eval_params=lambda params: params)
    other = dataclasses.replace(loop, eval_params=lambda opt_state, params: {"v": params["w"]})
    assert [hook.name for hook in other.hooks] == ["eval_params"]
    with pytest.raises(ValueError, match="eval_params"):
        fit(other, other.init(START), BATCHES, BATCHES, epochs=1)


def test_a_compiled_fit_validates_there_too():
    make, eval_params = EVALUATED["gradtx"]
    loop = Loop(apply, small.loss, make(), eval_params=eval_params)
    data = {name: jnp.concatenate([batch[name] for batch in BATCHES]) for name in ("x", "y")}
    order = jnp.arange(len(data["x"]), dtype=jnp.int32).reshape(len(BATCHES), -1)
    state, _, rows = compiled_fit(loop, loop.init(START), data, order[None], data, order)
    np.testing.assert_allclose(
        rows["valid_loss"][0], valid_loss(loop.evaluated_params(state)), rtol=1e-5
    )
