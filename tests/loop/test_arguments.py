"""What a loop, a hook and a fit are given is looked at before anything is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.loop import Hook, Loop, fit
from tests.loop import small

LOOP = small.make()
GOOD = {"loop": LOOP, "state": small.start(LOOP), "train": small.batches(), "epochs": 1}
LOOPS = [
    ({"apply": 3}, r"Loop: `apply` must be a function; got 3\."),
    ({"loss": None}, r"Loop: `loss` must be a function; got None\."),
    ({"tx": 3}, r"Loop: `tx` must be a gradient transformation .*; got 3\. Call the factory"),
    ({"metrics": 3}, r"Loop: `metrics` must be a dict, .* got 3\. Pass"),
    ({"metrics": {"error": 3}}, r"Loop: `metrics\['error'\]` must be a function; got 3\."),
    ({"hooks": 3}, r"compose: hooks must be a list of Hooks; got 3\."),
]
HOOKS = [
    ({"on": {"after_loss": 3}}, r"Hook 'a': `on\['after_loss'\]` must be a function .*; got 3\."),
    ({"on": 3}, r"Hook 'a': `on` must be a dict, event -> function; got 3\."),
    ({"on": {}, "init": 3}, r"Hook 'a': `init` must be a function of the state; got 3\."),
    *(
        ({"on": {}, name: 3}, rf"Hook 'a': `{name}` must be a function of the state; got 3\.")
        for name in ("log", "faults", "failed", "reason")
    ),
]
FITS = [
    ({"loop": 3}, r"`loop` must be a Loop; got 3\. Pass gradtx\.loop\.Loop"),
    ({"state": 3}, r"`state` must be a TrainState; got 3\. Pass loop\.init"),
    ({"train": 3}, r"`train` must be batches; got 3\. Pass a list of batches, or a function"),
    ({"train": {"x": 3}}, r"`train` must be batches; got {'x': 3}\. Pass a list of batches"),
    ({"valid": 3}, r"`valid` must be batches; got 3\. Pass a list of batches, or a function"),
    ({"epochs": "x"}, r"`epochs` must be a whole number; got 'x'\. Pass"),
    ({"epochs": 1.5}, r"`epochs` must be a whole number; got 1\.5\. Pass"),
    ({"observers": [3]}, r"`observers` must be a list of Observers; got \[3\]\. Call"),
    ({"observers": 3}, r"`observers` must be a list of Observers; got 3\. Call"),
    ({"observers": iter([])}, r"`observers` must be a list of Observers; got <list_iterator"),
]


@pytest.mark.parametrize(("parts", "message"), LOOPS)
def test_a_loop_of_something_else_is_refused(parts, message):
    given = {"apply": small.apply, "loss": small.loss, "tx": LOOP.tx}
    with pytest.raises(TypeError, match=f"^{message}"):
        Loop(**(given | parts))


@pytest.mark.parametrize(("parts", "message"), HOOKS)
def test_a_hook_of_something_else_is_refused(parts, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        Hook("a", **parts)


@pytest.mark.parametrize(("arguments", "message"), FITS)
def test_a_fit_of_something_else_is_refused(arguments, message):
    with pytest.raises(TypeError, match=f"^fit: {message}"):
        fit(**(GOOD | arguments))


@pytest.mark.parametrize("request_", [7, -1, 2.5, "x", None])
def test_a_request_of_something_else_is_refused(request_):
    """One beyond the last would end no level, and outlive the fit."""
    with pytest.raises(ValueError, match=r"^StepContext\.request: `request` must be a Req"):
        small.context(GOOD["state"]).request(request_)


@pytest.mark.parametrize("seed", ["x", None, 1.5, np.arange(2)])
def test_a_seed_of_something_else_is_refused(seed):
    with pytest.raises(
        TypeError, match=r"^Loop\.init: `seed` must be an integer or a typed key; got"
    ):
        small.start(LOOP, seed=seed)


@pytest.mark.parametrize("seed", [3, np.int64(3), jnp.int32(3), jax.random.key(3)])
def test_seeds_of_all_kinds_give_the_same_key(seed):
    want = jax.random.key_data(jax.random.key(3))
    for start in (small.start, jax.jit(small.start, static_argnums=0)):
        got = jax.random.key_data(start(LOOP, seed=seed).key)
        np.testing.assert_array_equal(got, want)
