"""Which loops share their programs: those that do the same, and no others."""

import functools
import gc
import weakref
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import hooks
from gradtx.loop import Hook, fit
from gradtx.loop.jitted import KEPT
from gradtx.loop.likeness import LoopKey, copy_of
from gradtx.schedules import constant, flat_cos, linear, one_cycle, sgdr
from tests.loop import small


def adding(amount, *, to="loss", table=None):
    def after_loss(state, context):
        more = amount if table is None else jnp.asarray(table)[0]
        return state, context.replace(**{to: getattr(context, to) + more})

    return Hook("adding", {"after_loss": after_loss})


def closed(value):
    return lambda count: value


def by_default(value):
    return lambda count, value=value: value


EQUAL = {
    "a number": lambda: closed(0.1),
    "a default": lambda: by_default(0.1),
    "a partial": lambda: functools.partial(closed(0.1), 3),
    "a function in a function": lambda: closed(closed(closed((1, "a", None)))),
    "a dict": lambda: closed({"a": closed(1.0), "b": 2}),
    "an array of NumPy": lambda: closed(np.arange(3)),
    "a ready hook": lambda: hooks.early_stopping("error", mode="min", patience=3),
    "a mask by rule": lambda: hooks.clip_gradients(0.1),
    "one cycle": lambda: one_cycle(0.1, 10).momentum,
    "warm restarts": lambda: hooks.schedule_hyperparams(learning_rate=sgdr(0.1, 4, cycles=2)),
    "other schedules": lambda: (flat_cos(0.1, 10), constant(0.1), linear(0.1, 0.0, 10)),
}
OTHER = {
    "a number": (lambda: closed(0.1), lambda: closed(0.2)),
    "its type": (lambda: closed(1), lambda: closed(1.0)),
    "its sign": (lambda: closed(0.0), lambda: closed(-0.0)),
    "a bool": (lambda: closed(True), lambda: closed(1)),
    "a default": (lambda: by_default(1), lambda: by_default(2)),
    "code": (lambda: lambda count: count + 1, lambda: lambda count: count + 2),
    "an array": (lambda: closed(np.arange(3)), lambda: closed(np.arange(3.0))),
    "a key of a dict": (lambda: closed({"a": 1}), lambda: closed({"b": 1})),
    "a schedule": (lambda: one_cycle(0.1, 10), lambda: one_cycle(0.1, 11)),
    "a ready hook": (lambda: hooks.clip_gradients(0.1), lambda: hooks.clip_gradients(0.2)),
    "what can change": (lambda: closed([1]), lambda: closed([1])),
}


@pytest.mark.parametrize("case", EQUAL)
def test_what_does_the_same_is_alike(case):
    assert copy_of(EQUAL[case]()) == copy_of(EQUAL[case]())


@pytest.mark.parametrize("case", OTHER)
def test_what_does_something_else_is_not(case):
    one, other = OTHER[case]
    assert copy_of(one()) != copy_of(other())
    made = one()
    assert copy_of(made) == copy_of(made)


def test_a_function_that_holds_itself_is_no_endless_loop():
    def make():
        def again(n):
            return again(n - 1) if n else 0

        return again

    assert copy_of(make()) == copy_of(make())


def test_loops_are_alike_by_their_functions_and_their_hooks():
    loop = small.make(adding(1.0))
    key = LoopKey(loop)
    assert key == LoopKey(replace(loop, hooks=[adding(1.0)]))
    assert key != LoopKey(replace(loop, hooks=[adding(2.0)]))
    assert key != LoopKey(replace(loop, hooks=[]))
    assert key != LoopKey(replace(loop, loss=lambda pred, batch: small.loss(pred, batch)))
    assert key != LoopKey(replace(loop, tx=gradtx.adamw(0.05)))
    assert key != LoopKey(replace(loop, metrics={}))


def test_a_like_hook_uses_the_program_and_another_has_its_own():
    traces = []

    def loss(pred, batch):
        traces.append(1)
        return small.loss(pred, batch)

    loop = small.make(loss=loss)
    state = small.start(loop)

    def first_loss(*made):
        more, begun = loop.with_hooks(state, made)
        _, history = fit(more, begun, small.batches(), epochs=1)
        return float(history.steps["loss"][0]), len(traces)

    plain, _ = first_loss()
    assert first_loss(adding(1.0)) == (pytest.approx(plain + 1), 2)
    assert first_loss(adding(1.0)) == (pytest.approx(plain + 1), 2)
    assert first_loss(adding(2.0)) == (pytest.approx(plain + 2), 3)
    table = np.array([5.0], np.float32)
    assert first_loss(adding(0.0, table=table)) == (pytest.approx(plain + 5), 4)
    table[0] = 7.0  # what a hook holds has changed, and so has its program
    assert first_loss(adding(0.0, table=table)) == (pytest.approx(plain + 7), 5)


@pytest.mark.thorough
def test_programs_go_with_the_loops_that_are_forgotten():
    alive = []
    for i in range(KEPT + 3):
        loop = small.make(adding(float(i)), metrics={})
        alive.append(weakref.ref(loop))
        fit(loop, small.start(loop), small.batches()(0, 0)[:1], epochs=1)
    del loop
    gc.collect()
    assert [ref() is not None for ref in alive] == [False] * 3 + [True] * KEPT


def test_what_two_hooks_collect_does_not_mix():
    """Their dicts are equal while they are empty."""

    def collects(into):
        keep = lambda loss: into.setdefault("losses", []).append(float(loss))
        on = lambda state, context: (jax.debug.callback(keep, context.loss), (state, context))[1]
        return Hook("collects", {"after_batch": on})

    first, second = {}, {}
    for into in (first, second):
        loop = small.make(collects(into), metrics={})
        fit(loop, small.start(loop), small.batches(1)(0, 0), epochs=1)
        jax.effects_barrier()
    assert len(first["losses"]) == len(second["losses"]) == small.STEPS
