"""check_schedule, check_hook and check_loop catch what they are for, and nothing else."""

from functools import partial

import jax.numpy as jnp
import pytest

import gradtx
from gradtx.loop import Hook, Loop, Request
from gradtx.testing import check_hook, check_loop, check_schedule
from gradtx.testing.fixture import default_fixture, tracing
from gradtx.testing.hook_laws import HOOK_LAWS, LOOP_LAWS

S = gradtx.schedules


@pytest.mark.parametrize(
    ("schedule", "claims"),
    [
        (S.constant(0.1), {"starts_at": 0.1, "ends_at": 0.1}),
        (S.linear(1.0, 0.0, 10), {"starts_at": 1.0, "ends_at": 0.0, "monotone": "decreasing"}),
        (S.cosine(0.0, 1.0, 10), {"bounds": (0, 1), "ends_at": 1.0, "monotone": "increasing"}),
        (S.one_cycle(1.0, 10).learning_rate, {"bounds": (1e-5, 1), "starts_at": 1 / 25}),
    ],
)
def test_schedules_keep_the_laws(schedule, claims):
    assert check_schedule(schedule, steps=10, **claims)


def flip_flop():
    calls = []

    def schedule(count):
        calls.append(count)
        return jnp.float32(len(calls) % 2)

    return schedule


as_float = lambda count: jnp.asarray(count).astype(jnp.float32)


@pytest.mark.parametrize(
    ("law", "schedule", "claims"),
    [
        ("schedule_is_scalar", lambda t: as_float(t)[None], {}),
        ("schedule_is_scalar", lambda t: jnp.asarray(t), {}),
        ("schedule_is_finite", lambda t: 1 / (as_float(t) - 7), {}),
        ("schedule_is_pure", flip_flop(), {}),
        ("schedule_takes_traced_counts", lambda t: jnp.float32(1.0 if t > 3 else 0.0), {}),
        ("schedule_starts_at", lambda t: 1 - (as_float(t) + 1) / 10, {"starts_at": 1.0}),
        ("schedule_ends_at", lambda t: 1 - as_float(t) / 10, {"ends_at": 0.0}),
        ("schedule_is_within", lambda t: 1 - as_float(t) / 10, {"bounds": (0, 1)}),
        ("schedule_is_monotone", lambda t: jnp.sin(as_float(t)), {"monotone": "decreasing"}),
        ("schedule_equals", lambda t: as_float(t) ** 2, {"equals": lambda t: 2 * t}),
    ],
)
def test_bad_schedules_are_caught(law, schedule, claims):
    with pytest.raises(AssertionError, match=rf"\d\. {law}\n"):
        check_schedule(schedule, steps=10, **claims)


def test_the_first_count_that_fails_is_shown():
    with pytest.raises(AssertionError, match=r"f\(7\) is inf"):
        check_schedule(lambda t: 1 / (as_float(t) - 7), steps=10)


@pytest.mark.thorough
def test_hook_that_traces_keeps_the_laws():
    assert set(check_hook(tracing, observes=True).passed) == set(HOOK_LAWS)


def scalar(dtype=jnp.int32):
    return lambda state: jnp.zeros((), dtype)


def remembers():
    calls = []

    def on(state, context):
        calls.append(None)
        return state + jnp.int32(len(calls)), context

    return Hook("remembers", {"after_batch": on}, scalar())


def lowers():
    on = lambda state, context: (
        state,
        context.replace(requested=jnp.zeros_like(context.requested)),
    )
    return Hook("lowers", {"after_batch": on, "before_step": on})


def drifts():
    on = lambda state, context: (state + jnp.float32(1), context)
    return Hook("drifts", {"after_batch": on}, scalar(jnp.bfloat16))


def branches():
    on = lambda state, context: (state + jnp.int32(bool(context.loss > 0)), context)
    return Hook("branches", {"after_batch": on}, scalar())


def meddles():
    halve = lambda state, context: (
        state,
        context.replace(params={"w": context.params["w"] * 0.5}),
    )
    return Hook("meddles", {"after_step": halve})


def logs_text():
    return Hook("logs", {}, log=lambda state: {"norms": "large"})


def counts_in_floats():
    return Hook("counts", {}, scalar(), faults=lambda state: {"odd": jnp.float32(1)})


def fails_for_all():
    return Hook("fails", {}, scalar(), failed=lambda state: jnp.any(state > 0))


def raises():
    return Hook("raises", {"after_loss": lambda state, context: (state, context.nothing)})


@pytest.mark.parametrize(
    ("law", "hook", "claims"),
    [
        ("hook_is_pure", remembers, {}),
        ("hook_keeps_its_types", drifts, {}),
        ("hook_only_raises_the_request", lowers, {}),
        ("hook_compiles", branches, {}),
        ("hook_observes", meddles, {"observes": True}),
        ("hook_tells_scalars", logs_text, {}),
        ("hook_tells_scalars", counts_in_floats, {}),
        ("hook_tells_scalars", fails_for_all, {}),
        ("hook_compiles", raises, {}),
    ],
)
def test_bad_hooks_are_caught(law, hook, claims):
    with pytest.raises(AssertionError, match=rf"\d\. {law}\n"):
        check_hook(hook, **claims)


def test_loop_keeps_the_laws_under_scripts_of_requests():
    assert set(check_loop(order_free=True).passed) == set(LOOP_LAWS)


def test_examples_that_count_by_their_place_are_caught():
    fixture = default_fixture()
    first = lambda pred, batch: jnp.square(pred - batch["y"]) * jnp.array([2.0, 1.0, 1.0, 1.0])
    loop = Loop(fixture.loop.apply, first, fixture.loop.tx)
    given = {"params": fixture.params, "batches": fixture.batches}
    with pytest.raises(AssertionError, match=r"breaks 1 of \d+ laws.*\n\n1. order_of_examples"):
        check_loop(loop, **given, order_free=True)


@pytest.mark.thorough
def test_undeclared_order_is_caught():
    fixture = default_fixture()
    double = lambda s, m: (s, m.replace(objective=m.objective * 2))
    more = lambda s, m: (s, m.replace(objective=m.objective + jnp.sum(m.params["w"] ** 2)))
    first, second = Hook("double", {"after_loss": double}), Hook("more", {"after_loss": more})
    loop = Loop(fixture.loop.apply, fixture.loop.loss, fixture.loop.tx, hooks=[first, second])
    with pytest.raises(
        AssertionError, match=r"(?s)breaks 1 of \d+ laws.*hook_order_is_declared"
    ) as caught:
        check_loop(loop, params=fixture.params, batches=fixture.batches)
    assert "Request" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: check_schedule(S.constant(1.0), start=1), TypeError, "Did you mean `starts_at`"),
        (lambda: check_hook(3), TypeError, "check_hook: `hook` must be a Hook or a function"),
        (lambda: check_hook(tracing, observe=True), TypeError, "Known claims: observes"),
        (lambda: check_loop(params={}), ValueError, "go together"),
        *(
            (partial(check, promotion="loose"), ValueError, f"^{name}: `promotion` must be 'stand")
            for name, check in {
                "check_schedule": partial(check_schedule, S.constant(1.0)),
                "check_hook": partial(check_hook, tracing),
                "check_loop": check_loop,
            }.items()
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_requests_are_a_lattice():
    for a in Request:
        for b in Request:
            assert max(a, b) == max(b, a) and max(a, a) == a and max(a, Request.CONTINUE) == a
            for c in Request:
                assert max(a, max(b, c)) == max(max(a, b), c)
