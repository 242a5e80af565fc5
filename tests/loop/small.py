"""A small training problem that the tests of the loop and of the hooks share."""

import jax
import jax.numpy as jnp
import numpy as np

import gradtx
from gradtx.loop import Hook, Loop, StepContext, compiled_fit, fit, take

EXAMPLES, BATCH, STEPS = 24, 8, 3


def apply(params, model_state, batch, *, key, training):
    """A two-layer net with something like batch statistics."""
    hidden = jnp.tanh(batch["x"] @ params["w1"] + params["b"][None])
    mean = 0.9 * model_state["mean"] + 0.1 * hidden.mean(axis=0)
    return (hidden @ params["w2"])[:, 0], {"mean": mean} if training else model_state


def loss(pred, batch):
    return jnp.square(pred - batch["y"])


def error(pred, batch):
    return jnp.abs(pred - batch["y"])


def params():
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(0.5 * rng.standard_normal(shape), jnp.float32)
    return {"w1": draw(3, 4), "b": jnp.zeros(4), "w2": draw(4, 1)}


def model_state():
    return {"mean": jnp.zeros(4)}


_x = np.random.default_rng(1).standard_normal((EXAMPLES, 3)).astype(np.float32)
DATA = {"x": jnp.asarray(_x), "y": jnp.asarray(_x.sum(axis=1))}
VALID_ORDER = jnp.arange(2 * BATCH, dtype=jnp.int32).reshape(2, BATCH)


def orders(epochs=2):
    rng = np.random.default_rng(2)
    rows = [rng.permutation(EXAMPLES).reshape(STEPS, BATCH) for _ in range(epochs)]
    return jnp.asarray(np.stack(rows), jnp.int32)


def make(*hooks, tx=None, metrics=None, **parts):
    chosen = {"apply": apply, "loss": loss} | parts
    tx = gradtx.adamw(0.05) if tx is None else tx
    return Loop(
        **chosen, tx=tx, metrics={"error": error} if metrics is None else metrics, hooks=hooks
    )


def start(loop, **how):
    return loop.init(params(), model_state(), **how)


def batches(epochs=2):
    """`train` for `fit`."""
    rows = np.asarray(orders(epochs))
    return lambda epoch, first: [take(DATA, row) for row in rows[epoch][first:]]


def valid():
    return [take(DATA, row) for row in np.asarray(VALID_ORDER)]


def run(loop, state=None, *, epochs=2, **how):
    state = start(loop) if state is None else state
    return fit(loop, state, batches(epochs), valid, epochs=epochs, **how)


compiled = jax.jit(compiled_fit, static_argnums=0)


def run_compiled(loop, state=None, *, epochs=2):
    state = start(loop) if state is None else state
    return compiled(loop, state, DATA, orders(epochs), DATA, VALID_ORDER)


def numbers(tree):
    """`tree` in NumPy, keys as their data: for exact comparison."""
    data = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return jax.tree.map(lambda x: np.asarray(data(x)), tree)


def context(state, batch=None, *, training=True, **fields):
    """What a hook sees at an event, for tests that call it alone."""
    from_state = (
        "step",
        "epoch",
        "requested",
        "key",
        "params",
        "model_state",
        "opt_state",
        "metrics",
    )
    known = {name: getattr(state, name) for name in from_state}
    return StepContext(training=training, batch=batch, **known | fields)


def assert_same(a, b):
    """Bit for bit, structure and all."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, numbers(a), numbers(b))


def request(event, request, step, *, name="ask", training=None):
    """A hook that asks for `request` at `event` of training step `step`."""

    def ask(state, context):
        here = context.step == step
        if training is not None:
            here = here & (context.training == training)
        return state, context.request(request, here)

    return Hook(name, {event: ask})
