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
