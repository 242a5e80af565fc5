"""Which events happen, in which order, whatever is asked for and wherever."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradtx.hooks import ema_params
from gradtx.loop import EVENTS, Hook, Observer, Request, fit, take
from gradtx.loop.events import BATCH_EVENTS
from gradtx.testing.fixture import traced
from tests.loop import small
from tests.loop.rule import Rule
from tests.loop.script_loop import LOOP, first_state, fits, step, with_script

TRAIN_BATCH = [
    "before_batch",
    "after_pred",
    "after_loss",
    "before_backward",
    "after_backward",
    "before_step",
    "after_update",
    "after_step",
    "after_batch",
]
VALID_BATCH = ["before_batch", "after_pred", "after_loss", "after_batch"]
REQUESTS = [request for request in Request if request != Request.CONTINUE]


def rule_of(*asks):
    wanted = {}
    for event, occurrence, request in asks:
        wanted[event, occurrence] = max(request, wanted.get((event, occurrence), 0))
    return Rule(wanted).fit(epochs=2, train=small.STEPS, valid=2)


def assert_follows(state, rule):
    assert traced(state) == rule.events
    assert int(state.opt_state.count) == rule.updates
    assert int(state.step) == rule.batches
    assert int(state.requested) == 0 and int(state.level) == 0


def test_a_fit_that_nothing_interrupts_has_exactly_these_events():
    state, _ = small.run(LOOP, first_state())
    train = ["before_train", *TRAIN_BATCH * small.STEPS, "after_train"]
    valid = ["before_validate", *VALID_BATCH * 2, "after_validate"]
    epoch = ["before_epoch", *train, *valid, "after_epoch"]
    assert traced(state) == ["before_fit", *epoch * 2, "after_fit"]


def test_every_request_at_every_event_unwinds_by_the_rule():
    """All pairs of event and request, and the second occurrence of the event as well."""
    cases = [(e, k, s) for e in EVENTS for s in REQUESTS for k in (0, 1)]
    reached = set()
    for case, (state, _, _) in zip(cases, fits([[case] for case in cases]), strict=True):
        rule = rule_of(case)
        try:
            assert_follows(state, rule)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from None
        reached |= set(rule.events)
    assert reached == set(EVENTS)


asks = st.tuples(st.sampled_from(EVENTS), st.integers(0, 3), st.sampled_from(REQUESTS))


@settings(max_examples=40)
@given(asks, asks)
def test_two_requests_unwind_by_the_rule_on_the_host_as_well(first, second):
    """The second may be asked for at an event that only happens because of the other's request."""
    state, history = small.run(LOOP, with_script(first_state(), first, second))
    rule = rule_of(first, second)
    assert_follows(state, rule)
    assert len(history.rows) == rule.seen["after_epoch"]
    steps = history.steps["loss"] if history.steps else []
    assert len(steps) == rule.batches


@settings(max_examples=30)
@given(st.lists(asks, max_size=4))
def test_the_rule_brackets_every_level(requests):
    """Each before_ has its after_, innermost first; each after_cancel_ stands just before one."""
    open_, cancelled = [], None
    for event in rule_of(*requests).events:
        kind, _, level = event.partition("_")
        assert cancelled is None or event == f"after_{cancelled}"
        cancelled = level.removeprefix("cancel_") if level.startswith("cancel_") else None
        if kind == "before":
            open_.append(level)
        elif cancelled is None and level not in ("pred", "loss", "update"):
            assert open_.pop() == level
    assert not open_


def batch_state(state):
    return small.numbers((state.params, state.opt_state, state.model_state))


@pytest.mark.parametrize("request_", [s for s in REQUESTS if s >= Request.SKIP_BATCH])
def test_a_batch_cut_short_leaves_everything_bit_identical(request_):
    state = first_state()
    batch = take(small.DATA, small.orders()[0, 0])
    for event in TRAIN_BATCH[:-1]:  # once the batch is closed it is too late
        asked = with_script(state, (event, 0, request_))
        new, log = step(LOOP, asked, batch)
        small.assert_same(batch_state(new), batch_state(state))
        assert int(log["requested"]) == (0 if request_ == Request.SKIP_BATCH else request_)
        assert int(new.step) == 1


def test_what_a_hook_changed_goes_back_with_the_batch():
    state = first_state()
    batch = take(small.DATA, small.orders()[0, 0])
    change = ("before_batch", 0, 0, 2.0)
    kept, _ = step(LOOP, with_script(state, change), batch)
    cut = ("after_step", 0, Request.SKIP_BATCH)
    new, _ = step(LOOP, with_script(state, change, cut), batch)
    assert not np.array_equal(kept.params["w1"], state.params["w1"])
    small.assert_same(batch_state(new), batch_state(state))


def test_a_skipped_step_keeps_params_and_optimizer_but_not_batch_statistics():
    state = first_state()
    batch = take(small.DATA, small.orders()[0, 0])
    plain, _ = step(LOOP, state, batch)
    for event in TRAIN_BATCH[:7]:
        asked = with_script(state, (event, 0, Request.SKIP_STEP))
        new, _ = step(LOOP, asked, batch)
        small.assert_same(small.numbers(new.params), small.numbers(state.params))
        small.assert_same(small.numbers(new.opt_state), small.numbers(state.opt_state))
        small.assert_same(small.numbers(new.model_state), small.numbers(plain.model_state))


def test_a_skipped_gradient_is_zero_and_the_step_runs():
    state = first_state()
    batch = take(small.DATA, small.orders()[0, 0])
    asked = with_script(state, ("after_loss", 0, Request.SKIP_BACKWARD))
    new, _ = step(LOOP, asked, batch)
    zero = jax.tree.map(jnp.zeros_like, state.params)
    updates, _ = LOOP.tx.update(zero, state.opt_state, state.params)
    for name, p in state.params.items():
        np.testing.assert_allclose(new.params[name], p + updates[name], rtol=1e-6)
    assert int(new.opt_state.count) == 1


def test_events_of_a_batch_and_of_phases_are_all_that_there_are():
    assert len(EVENTS) == len(set(EVENTS)) == 24
    assert set(BATCH_EVENTS) < set(EVENTS)


def test_what_a_hook_of_another_loop_asked_for_is_forgotten():
    """Where no hook asks, none may take it for a pending request, as an average would."""
    ends = Hook("ends", {"after_epoch": lambda own, c: (own, c.request(Request.END_FIT))})
    loop, seen = small.make(ends, ema_params(0.5)), []
    note = lambda report: seen.append(jax.tree.map(jnp.copy, report.state))
    batches, keep = small.batches(3), Observer({"after_epoch": note})
    fit(loop, small.start(loop), batches, epochs=3, observers=[keep])
    assert len(seen) == 1 and int(seen[0].requested) == Request.END_FIT
    plain = small.make(ema_params(0.5))
    kept = plain.without_hooks(seen[0])
    state, history = fit(plain, kept, batches, epochs=3)
    assert len(history.rows) == 2 and int(state.requested) == 0
    moved = lambda a, b: np.abs(a["w1"] - b["w1"]).max()
    assert moved(state.hooks["ema_params"].average, kept.hooks["ema_params"].average) > 1e-3
