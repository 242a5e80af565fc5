"""`import gradtx as optax` runs a script: every public name of the installed Optax is there."""

import importlib
import inspect
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from tests.optax_in_place import MODULES, pairs, public_names, replaced

PAIRS = pairs()


@pytest.mark.parametrize("module", PAIRS)
def test_every_public_name_of_optax_resolves(module):
    theirs, ours = PAIRS[module]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        missing = [name for name in public_names(theirs) if not hasattr(ours, name)]
    assert not missing


@pytest.mark.parametrize("module", PAIRS)
def test_the_names_are_there_for_dir_and_star(module):
    theirs, ours = PAIRS[module]
    deprecated = ("dpsgd", "differentially_private_aggregate")  # which warn when looked at
    old = {name for name in theirs.__dict__ if name[0] != "_"} & {*public_names(theirs)}
    assert old - {*deprecated} <= {*dir(ours)} & {*ours.__all__}


def test_modules_are_real():
    for name in MODULES:
        code = importlib.import_module(f"gradtx.{name}")
        assert code.__file__ and "/gradtx/" in code.__file__
        assert getattr(gradtx, name) is code


def takes_all(theirs, ours):
    """What of Optax's parameters ours lacks, or has at another place or with another default."""
    a, b = (dict(inspect.signature(f).parameters) for f in (theirs, ours))
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in b.values()):
        return []
    placed = [n for n, p in a.items() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    ours_placed = [n for n, p in b.items() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    lacking = [n for n, p in a.items() if n not in b and p.kind not in variadic]
    return lacking + [n for n, m in zip(placed, ours_placed, strict=False) if n != m and n in b]


def test_under_optax_names_ours_take_every_argument():
    found = {name: takes_all(*pair) for name, pair in replaced().items()}
    del found["transforms.freeze"], found["freeze"]  # ours has `mask` for its first argument, too
    assert not {name: lacking for name, lacking in found.items() if lacking}


def test_the_types_are_optax_types():
    assert gradtx.GradientTransformation is optax.GradientTransformation
    assert gradtx.GradientTransformationExtraArgs is optax.GradientTransformationExtraArgs
    assert isinstance(gradtx.adam(0.1), optax.GradientTransformationExtraArgs)
    assert gradtx.tree.norm is optax.tree.norm and not hasattr(gradtx.tree, "shrink")


def test_a_newer_name_is_found_and_one_of_our_rooms_is_not(monkeypatch):
    for name in ("of_tomorrow", "hooks"):
        monkeypatch.setattr(optax, name, 7, raising=False)
    monkeypatch.delattr(gradtx, "hooks", raising=False)
    assert gradtx.of_tomorrow == 7
    with pytest.raises(AttributeError, match=r"module 'gradtx' has no attribute 'hooks'"):
        _ = gradtx.hooks
    with pytest.raises(AttributeError, match=r"module 'gradtx.losses' has no attribute 'no_such'"):
        _ = gradtx.losses.no_such


def test_importing_takes_little_longer_than_importing_optax():
    """What is loaded besides is ours: no library more."""
    code = "import sys, {}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = lambda name: subprocess.run(
        [sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=True
    ).stdout.split()
    known = {*sys.stdlib_module_names, "gradtx"}
    assert {*run("gradtx")} - {*run("optax")} <= known


PARAMS = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
ADAM = ("count", "mu", "nu")
READ = {
    "adam": (lambda lib: lib.adam(0.1), lambda s: s[0], ADAM),
    "amsgrad": (lambda lib: lib.amsgrad(0.1), lambda s: s[0], (*ADAM, "nu_max")),
    "lion": (lambda lib: lib.lion(0.1), lambda s: s[0], ("count", "mu")),
    "sgd": (lambda lib: lib.sgd(0.1, momentum=0.9), lambda s: s[0], ("trace",)),
    "ema": (lambda lib: lib.ema(0.9), lambda s: s, ("count", "ema")),
    "rms": (lambda lib: lib.scale_by_rms(), lambda s: s, ("nu",)),
    "stddev": (lambda lib: lib.scale_by_stddev(), lambda s: s, ("mu", "nu")),
    "rss": (lambda lib: lib.scale_by_rss(), lambda s: s, ("sum_of_squares",)),
    "adadelta": (lambda lib: lib.scale_by_adadelta(), lambda s: s, ("e_g", "e_x")),
    "finite": (
        lambda lib: lib.apply_if_finite(lib.sgd(0.1), 3),
        lambda s: s,
        ("notfinite_count", "last_finite", "total_notfinite"),
    ),
    "masked": (
        lambda lib: lib.masked(lib.trace(0.9), {"w": True, "b": True}),
        lambda s: s.inner_state,
        ("trace",),
    ),
    "partition": (
        lambda lib: lib.partition({"a": lib.trace(0.9)}, {"w": "a", "b": "a"}),
        lambda s: getattr(s.inner_states["a"], "inner_state", s.inner_states["a"]),
        ("trace",),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_fields_are_read_off_a_state_by_name_and_place(name):
    make, part, fields = READ[name]
    found = []
    for library in (optax, gradtx):
        tx = make(library)
        with jax.numpy_dtype_promotion("standard"):
            state = tx.init(PARAMS)
            for _ in range(2):
                _, state = tx.update(PARAMS, state, PARAMS)
        found.append([getattr(part(state), field) for field in fields])
        by_place = [part(state)[i] for i in range(len(fields))]
        jax.tree.map(np.testing.assert_array_equal, by_place, found[-1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), *found)


def test_a_field_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match=r"no attribute 'velocities'"):
        _ = gradtx.trace(0.9).init(PARAMS).velocities
    with pytest.raises(IndexError, match=r"no field at place 5"):
        _ = gradtx.trace(0.9).init(PARAMS)[5]


def steps(o, tx, params, n=3, state=None):
    """A training loop as scripts have it."""
    state = tx.init(params) if state is None else state
    for i in range(n):
        grads = jax.tree.map(lambda p, i=i: p * (i + 1.0) + 0.5, params)
        updates, state = tx.update(grads, state, params)
        params = o.apply_updates(params, updates)
    return params, state


def injected(o):
    tx = o.inject_hyperparams(o.adamw)(learning_rate=0.1, weight_decay=lambda t: 0.1 / (t + 1))
    params, state = steps(o, tx, PARAMS)
    state.hyperparams["learning_rate"] = jnp.asarray(0.01)
    params, state = steps(o, tx, params, state=state)
    state = o.tree_utils.tree_set(state, learning_rate=jnp.asarray(0.5))
    params, state = steps(o, tx, params, 1, state)
    rate = o.tree_utils.tree_get(state, "learning_rate")
    mu = state.inner_state[0].mu
    return params, rate, state.hyperparams["weight_decay"], mu, state.count


def by_label(o):
    labels = lambda params: {"w": "matrix", "b": "bias"}
    tx = o.multi_transform({"matrix": o.adam(0.1), "bias": o.sgd(0.1, momentum=0.9)}, labels)
    params, state = steps(o, tx, PARAMS)
    inner = state.inner_states
    mu = inner["matrix"].inner_state[0].mu
    assert isinstance(mu["b"], o.MaskedNode)
    return params, mu["w"], inner["bias"].inner_state[0].trace["b"]


def several_steps(o):
    tx = o.MultiSteps(o.adam(0.1), every_k_schedule=2)
    params, state = steps(o, tx, PARAMS)
    return params, state.mini_step, state.gradient_step, tx.has_updated(state)


def masked_decay(o):
    mask = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    decay = o.masked(o.add_decayed_weights(0.1), mask)
    tx = o.chain(o.clip_by_global_norm(1.0), o.scale_by_adam(), decay, o.scale(-0.1))
    params, state = steps(o, tx, PARAMS)
    clip, adam, *_ = state
    del clip
    return params, adam.mu, state[1].nu, adam.count


def two_speeds(o):
    tx = o.lookahead(o.sgd(0.1), sync_period=2, slow_step_size=0.5)
    params = o.LookaheadParams.init_synced(PARAMS)
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(jax.tree.map(jnp.sin, params.fast), state, params)
        params = o.apply_updates(params, updates)
    return params.fast, params.slow


def finite(o):
    tx = o.apply_if_finite(o.sgd(0.1), 3)
    params, state = steps(o, tx, PARAMS)
    bad = jax.tree.map(lambda p: p * jnp.nan, PARAMS)
    _, state = tx.update(bad, state, params)
    return params, state.last_finite, state.notfinite_count, state.total_notfinite


def line_search(o):
    loss = lambda params: jnp.sum((params["w"] - 3.0) ** 2) + jnp.sum(params["b"] ** 2)
    tx, params = o.lbfgs(), PARAMS
    state, value_and_grad = tx.init(params), o.value_and_grad_from_state(loss)
    for _ in range(2):
        value, grad = value_and_grad(params, state=state)
        arguments = dict(value=value, grad=grad, value_fn=loss)
        updates, state = tx.update(grad, state, params, **arguments)
        params = o.apply_updates(params, updates)
    return params, o.tree_utils.tree_get(state, "value")


def verbs(o):
    tx = o.chain(o.sgd(0.1, momentum=0.9), o.ema(0.5))
    params, state = steps(o, tx, PARAMS)
    doubled = o.tree_map_params(tx, lambda leaf: 2 * leaf, state)
    get = o.tree_utils.tree_get
    assert get(state, "no such") is None and get(state, "no such", default=1) == 1
    assert isinstance(tx, o.GradientTransformationExtraArgs)
    return get(doubled, "trace"), get(state, "ema"), o.tree.norm(params)


SCRIPTS = (injected, by_label, several_steps, masked_decay, two_speeds, finite, verbs)
# Each compiles for seconds.
LONG = (line_search,)


@pytest.mark.parametrize(
    "script",
    [*SCRIPTS, *(pytest.param(script, marks=pytest.mark.thorough) for script in LONG)],
    ids=lambda script: script.__name__,
)
def test_a_script_of_optaxs_runs_with_ours(script):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        want, got = script(optax), script(gradtx)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got, want)


def test_a_state_equals_optaxs_of_the_same():
    tx = gradtx.chain(gradtx.trace(0.9), gradtx.scale(0.1))
    state = jax.tree.map(lambda x: 0, tx.init(jnp.ones(2)))
    assert state == (optax.TraceState(0), optax.EmptyState())
    assert state != (optax.TraceState(1), optax.EmptyState()) and state != {}
    assert state == jax.tree.map(lambda x: 0, tx.init(jnp.ones(2)))


def test_names_of_optaxs_states_lead_to_ours():
    state = gradtx.chain(gradtx.adam(0.1), gradtx.adam(0.2)).init(PARAMS)
    find = gradtx.tree_utils.tree_get_all_with_path
    assert len(find(state, "mu")) == 2 and len(find(state, "count")) == 1  # one counter for all
    with pytest.raises(KeyError, match="must name one value; got 'mu', which names several"):
        gradtx.tree_utils.tree_get(state, "mu")
    assert isinstance(find(state, "ScaleByAdamState")[0][1], optax.ScaleByAdamState)
    new = gradtx.tree_utils.tree_set(state, learning_rate=0.5)
    assert [float(x) for _, x in find(new, "learning_rate")] == [0.5, 0.5]
    with pytest.raises(KeyError, match="Found no values matching 'nothing'"):
        gradtx.tree_utils.tree_set(state, nothing=1)


def test_an_array_decides_where_it_comes_from():
    tx = gradtx.sgd(jnp.float32(0.5))
    state = tx.init(PARAMS)
    assert gradtx.tree_utils.tree_get(state, "learning_rate") is None
    with pytest.raises(KeyError, match="Found no values"):
        gradtx.tree_utils.tree_set(state, learning_rate=1.0)
    same = gradtx.tree_utils.tree_set(state, count=jnp.int32(3))
    assert int(same.count) == 3 and jax.tree.structure(same) == jax.tree.structure(state)


def test_a_real_dtype_of_a_complex_moment_is_obeyed_and_warned_of():
    params = jnp.ones(2, jnp.complex64)
    tx = gradtx.sgd(0.1, momentum=0.9, accumulator_dtype=jnp.float32)
    with pytest.warns(UserWarning, match="should be complex; got float32, which keeps the real"):
        state = tx.init(params)
    _, state = tx.update(params * 1j, state, params)
    assert state[0].trace.dtype == jnp.float32 and not state[0].trace.any()
