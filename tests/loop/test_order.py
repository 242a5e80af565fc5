"""The order of hooks, against recorded orders of the reference's two sorts."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtx.loop import Hook, compose

CASES = json.loads((Path(__file__).parent / "callback_order.json").read_text())["cases"]
LAST = 10**6  # what the reference calls toward_end


def hooks_of(case):
    """A reference class becomes a hook; a base class is nothing, since run_after ignored those."""
    present = [entry for entry in case["spec"] if not entry.get("absent")]
    return [
        Hook(
            entry["name"],
            {},
            run_before=entry.get("run_before", ()),
            run_after=entry.get("run_after", ()),
            priority=LAST if entry.get("toward_end") else entry.get("order", 0),
        )
        for entry in present
    ]


def uses(case, *keys):
    return any(key in entry for entry in case["spec"] for key in keys)


def expected(case):
    """The sort by constraints, or where there is only `order` the sort by that."""
    return case["modern_sorted_by_order" if uses(case, "order") else "legacy_sort_by_run"]


MIXED = [c for c in CASES if uses(c, "order") and uses(c, "run_before", "run_after")]


@pytest.mark.parametrize("case", [c for c in CASES if c not in MIXED], ids=lambda c: c["name"])
def test_recorded_orders(case):
    if isinstance(expected(case), str):
        with pytest.raises(ValueError, match=r"compose: hooks cannot be ordered: .*\"A\""):
            compose(hooks_of(case))
    else:
        assert [hook.name for hook in compose(hooks_of(case))] == expected(case)


def test_constraints_and_priorities_count_together():
    """The reference has one or the other; here A waits for B, and C comes before B."""
    assert [c["name"] for c in MIXED] == ["order and run_after disagree"]
    assert [hook.name for hook in compose(hooks_of(MIXED[0]))] == ["C", "B", "A"]


def test_an_alias_is_matched_where_the_reference_ignored_a_base_class():
    a, b = Hook("a", {}, run_after="base"), Hook("b", {}, aliases="base")
    assert [hook.name for hook in compose([a, b])] == ["b", "a"]


def test_a_cycle_is_named_with_the_constraints_that_make_it():
    a = Hook("a", {}, run_before="b")
    b = Hook("b", {}, run_before="c")
    c = Hook("c", {}, run_before="a")
    with pytest.raises(ValueError) as error:
        compose([Hook("free", {}), a, b, c])
    text = str(error.value)
    for pair in ('"a" runs before "b" (a.run_before)', '"c" runs before "a" (c.run_before)'):
        assert pair in text
    assert "free" not in text


names = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)


@given(names, st.data())
def test_the_order_is_stable_and_keeps_every_constraint(chosen, data):
    """Constraints only point forward in the list, so there is an order."""
    hooks = []
    for i, name in enumerate(chosen):
        earlier = data.draw(st.lists(st.sampled_from(chosen[:i]), unique=True)) if i else []
        hooks.append(Hook(name, {}, run_after=earlier, priority=data.draw(st.integers(-1, 1))))
    order = compose(hooks)
    place = {hook.name: i for i, hook in enumerate(order)}
    assert sorted(place) == sorted(chosen)
    for hook in hooks:
        assert all(place[other] < place[hook.name] for other in hook.run_after)
    assert compose(order) == order
    free = [hook for hook in hooks if not hook.run_after]
    if len(free) == len(hooks):
        assert list(order) == sorted(hooks, key=lambda hook: hook.priority)


def test_bad_lists_are_refused():
    with pytest.raises(ValueError, match=r"compose: .* different names; got 'a' twice"):
        compose([Hook("a", {}), Hook("a", {})])
    with pytest.raises(TypeError, match=r"compose: every entry must be a Hook; got <function"):
        compose([hooks_of])
    with pytest.raises(ValueError, match=r"Hook 'a': .* got 'begin_train'. Use one of: before_"):
        Hook("a", {"begin_train": lambda s, m: (s, m)})
