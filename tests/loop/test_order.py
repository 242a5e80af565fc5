"""The order of hooks, against recorded orders of fastai's sort by constraints."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtx.loop import Hook, compose

CASES = json.loads((Path(__file__).parent / "callback_order.json").read_text())["cases"]


def hooks_of(case):
    """A fastai class becomes a hook; one that is absent or a base class is none."""
    present = [entry for entry in case["spec"] if not entry.get("absent")]
    return [
        Hook(
            entry["name"],
            {},
            run_before=entry.get("run_before", ()),
            run_after=entry.get("run_after", ()),
        )
        for entry in present
    ]


def by_constraints(case):
    """Whether nothing but run_before, run_after and the place in the list decides."""
    return not any(key in entry for entry in case["spec"] for key in ("order", "toward_end"))


@pytest.mark.parametrize("case", list(filter(by_constraints, CASES)), ids=lambda c: c["name"])
def test_recorded_orders(case):
    want = case["legacy_sort_by_run"]
    if isinstance(want, str):
        with pytest.raises(ValueError, match=r"compose: hooks cannot be ordered: .*\"A\""):
            compose(hooks_of(case))
    else:
        assert [hook.name for hook in compose(hooks_of(case))] == want


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
        hooks.append(Hook(name, {}, run_after=earlier))
    order = compose(hooks)
    place = {hook.name: i for i, hook in enumerate(order)}
    assert sorted(place) == sorted(chosen)
    for hook in hooks:
        assert all(place[other] < place[hook.name] for other in hook.run_after)
    assert compose(order) == order
    assert list(order) == hooks  # the list is in an order that satisfies them all
    last = Hook("last", {})
    shuffled = data.draw(st.permutations(hooks))
    assert compose([*shuffled, last])[-1] == last


def test_hooks_may_come_from_an_iterator():
    assert [hook.name for hook in compose(Hook(name, {}) for name in "ab")] == ["a", "b"]


def test_bad_lists_are_refused():
    with pytest.raises(ValueError, match=r"compose: .* different names; got 'a' twice"):
        compose([Hook("a", {}), Hook("a", {})])
    with pytest.raises(TypeError, match=r"compose: every entry must be a Hook; got <function"):
        compose([hooks_of])
    with pytest.raises(ValueError, match=r"Hook 'a': .* got 'begin_train'. Use one of: before_"):
        Hook("a", {"begin_train": lambda s, m: (s, m)})
