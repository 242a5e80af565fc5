"""The laws of schedules, and `check_schedule`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.kinds import Natural, checked
from gradtx.testing.code import expression
from gradtx.testing.law import Law, LawViolation, law, select_claims
from gradtx.testing.promotion import rules
from gradtx.testing.report import Failure, Report
from gradtx.testing.run import require
from gradtx.testing.search import Profile

SCHEDULE_LAWS: dict[str, Law] = {}


def _value(schedule: Callable, count: Any) -> float:
    return float(schedule(count))


def _close(a: float, b: float, tolerance: float, scale: float = 0.0) -> bool:
    return abs(a - b) <= tolerance * max(abs(a), abs(b), scale)


def _claimed(*names: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda claims: {name: claims[name] for name in names}


@law(registry=SCHEDULE_LAWS)
def schedule_is_scalar(schedule: Callable, count: int) -> None:
    """A schedule gives one real number, of a floating dtype.

        shape(f(t)) = ()        dtype(f(t)) is floating

    Args:
        schedule: the schedule, a function from a count to a number.
        count: the count to try, a Python int, 0 or more.
    """
    value = schedule(jnp.int32(count))
    dtype = jnp.result_type(value)
    require(jnp.shape(value) == (), f"f({count}) has shape {jnp.shape(value)}")
    require(jnp.issubdtype(dtype, jnp.floating), f"f({count}) is {dtype}")


@law(registry=SCHEDULE_LAWS)
def schedule_is_finite(schedule: Callable, count: int) -> None:
    """At every count, also long after its end, a schedule is finite.

        f(t) finite for t = 0, 1, ..

    Args:
        schedule: the schedule, a function from a count to a number.
        count: the count to try, a Python int, 0 or more.
    """
    value = _value(schedule, jnp.int32(count))
    require(np.isfinite(value), f"f({count}) is {value}")


@law(registry=SCHEDULE_LAWS)
def schedule_is_pure(schedule: Callable, count: int) -> None:
    """A schedule remembers nothing: it is a function of the count.

        f(t) = f(t)

    Args:
        schedule: the schedule, a function from a count to a number.
        count: the count to try, a Python int, 0 or more.
    """
    first = _value(schedule, jnp.int32(count))
    second = _value(schedule, jnp.int32(count))
    require(first == second, f"f({count}) is {first:.9g}, and then {second:.9g}")


@law(registry=SCHEDULE_LAWS, cost=50)
def schedule_takes_traced_counts(schedule: Callable, count: int) -> None:
    """Under jit and vmap a schedule gives what it gives in Python, for an int as for an array.

        jit(f)(t) = vmap(f)([t])[0] = f(int32(t)) = f(int(t))

    Args:
        schedule: the schedule, a function from a count to a number.
        count: the count to try, a Python int, 0 or more.
    """
    want = _value(schedule, count)
    t = jnp.int32(count)
    forms = {
        "f(int32(t))": schedule(t),
        "jit(f)(t)": jax.jit(schedule)(t),
        "vmap(f)([t])[0]": jax.vmap(schedule)(t[None])[0],
    }
    for form, got in forms.items():
        same = _close(float(got), want, 1e-5)
        require(same, f"t = {count}: {form} is {float(got):.9g}, f(t) {want:.9g}")


@law(
    registry=SCHEDULE_LAWS,
    when=lambda c: c["starts_at"] is not None,
    arguments=_claimed("starts_at"),
    cost=400,
)
def schedule_starts_at(schedule: Callable, count: int, *, starts_at: float) -> None:
    """The first update is given the start.

        f(0) = starts_at

    Args:
        schedule: the schedule, a function from a count to a number.
        count: not used.
        starts_at: the value at count 0.
    """
    del count
    value = _value(schedule, jnp.int32(0))
    require(_close(value, starts_at, 1e-5), f"f(0) is {value:.9g}, not {starts_at:.9g}")


@law(
    registry=SCHEDULE_LAWS,
    when=lambda c: c["ends_at"] is not None,
    arguments=_claimed("ends_at", "steps"),
    cost=10,
)
def schedule_ends_at(schedule: Callable, count: int, *, ends_at: float, steps: int) -> None:
    """From `steps` on, nothing changes.

        f(t) = ends_at  for t >= steps

    Args:
        schedule: the schedule, a function from a count to a number.
        count: a count after the end, counted from it.
        ends_at: the value from `steps` on.
        steps: the count at which the schedule ends.
    """
    for t in (steps, steps + 1, steps + count):
        value = _value(schedule, jnp.int32(t))
        require(_close(value, ends_at, 1e-4), f"f({t}) is {value:.9g}, not {ends_at:.9g}")


@law(registry=SCHEDULE_LAWS, when=lambda c: c["bounds"] is not None, arguments=_claimed("bounds"))
def schedule_is_within(schedule: Callable, count: int, *, bounds: tuple[float, float]) -> None:
    """The values keep within their bounds.

        bounds[0] <= f(t) <= bounds[1]

    Args:
        schedule: the schedule, a function from a count to a number.
        count: the count to try, a Python int, 0 or more.
        bounds: the least and the largest value.
    """
    value, (low, high) = _value(schedule, jnp.int32(count)), bounds
    slack = 1e-6 * max(abs(low), abs(high))
    inside = low - slack <= value <= high + slack
    require(inside, f"f({count}) is {value:.9g}, outside [{low:g}, {high:g}]")


@law(
    registry=SCHEDULE_LAWS, when=lambda c: c["monotone"] is not None, arguments=_claimed("monotone")
)
def schedule_is_monotone(schedule: Callable, count: int, *, monotone: str) -> None:
    """The values only fall, or only rise.

        f(t + 1) <= f(t)  where "decreasing";  f(t + 1) >= f(t)  where "increasing"

    Args:
        schedule: the schedule, a function from a count to a number.
        count: the count to try, a Python int, 0 or more.
        monotone: "decreasing" or "increasing".
    """
    a, b = _value(schedule, jnp.int32(count)), _value(schedule, jnp.int32(count + 1))
    rise = b - a if monotone == "decreasing" else a - b
    require(rise <= 1e-6 * abs(a), f"f({count}) is {a:.9g}, f({count + 1}) {b:.9g}")


@law(registry=SCHEDULE_LAWS, when=lambda c: c["equals"] is not None, arguments=_claimed("equals"))
def schedule_equals(schedule: Callable, count: int, *, equals: Callable) -> None:
    """The values are those of a reference.

        f(t) = reference(t)

    Args:
        schedule: the schedule, a function from a count to a number.
        count: the count to try, a Python int, 0 or more.
        equals: the reference, a function from a Python int to a number.
    """
    value, want = _value(schedule, jnp.int32(count)), float(equals(count))
    same = _close(value, want, 1e-5, 1e-7)
    require(same, f"f({count}) is {value:.9g}, the reference {want:.9g}")


CLAIMS: dict[str, Any] = {
    "starts_at": None,
    "ends_at": None,
    "bounds": None,
    "monotone": None,
    "equals": None,
}


@checked
def check_schedule(
    schedule: Callable,
    *,
    steps: Natural = 100,
    profile: str = "quick",
    promotion: str | None = None,
    **claims: Any,
) -> Report:
    """Try every law that applies to a schedule, a function from a count to a number.

        for law in laws:  for t in [0, 2 steps]:  law(schedule, t)

    Of very many counts every few are tried; the first that fails is the counterexample.

    >>> import gradtx
    >>> report = check_schedule(gradtx.schedules.constant(0.1), starts_at=0.1)
    >>> len(report.passed)
    5

    Args:
        schedule: the schedule, a function from a count to a number.
        steps: the count at which the schedule ends; counts up to twice that are tried.
        profile: "quick" (seconds) or "thorough" (minutes).
        promotion: "standard" or "strict", the JAX rules for mixed dtypes and ranks to run under;
            `None` keeps those set around the call.
        claims: any of `starts_at`, `ends_at` (from `steps` on), `bounds=(low, high)`,
            `monotone="decreasing"` or "increasing", and `equals` (a reference on Python ints).

    Raises:
        AssertionError: with every law that fails, its formula and a script.
        TypeError: for an unknown claim.
        ValueError: for an unknown `profile` or `promotion`.
    """
    given = select_claims("check_schedule", claims, CLAIMS) | {"steps": steps}
    most = {"quick": 400, "thorough": 20_000}[Profile.named("check_schedule", profile).name]
    passed, failures = [], []
    with rules("check_schedule", promotion):
        for each in SCHEDULE_LAWS.values():
            if each.when(given):
                constant = each.arguments(given)
                found = _first_failure(each, schedule, _counts(steps, most / each.cost), constant)
                failures += found
                passed += [] if found else [each.name]
    name = getattr(schedule, "__name__", "<lambda>")
    report = Report("the schedule" if name == "<lambda>" else name, tuple(passed), tuple(failures))
    return report.or_raise("check_schedule")


def _counts(steps: int, most: float) -> list[int]:
    """The counts to try, all of [0, 2 steps] if there are no more than `most`."""
    edges = {0, 1, 2, *(max(0, steps + d) for d in (-2, -1, 0, 1, 2))}
    stride = max(1, round(2 * steps / most))
    return sorted(edges | set(range(0, 2 * steps + 1, stride)))


def _first_failure(law: Law, schedule: Callable, counts: list[int], constant: Any) -> list[Failure]:
    for count in counts:
        try:
            law.check(schedule, count, **constant)
        except LawViolation as violation:
            code = _code(law.name, count, constant)
            return [Failure(law.name, law.formula, violation.details, code)]
    return []


def _code(name: str, count: int, constant: Mapping[str, Any]) -> str:
    opaque = ["equals = ...  # the one that you claimed"] if "equals" in constant else []
    words = {k: k if k == "equals" else expression(v) for k, v in constant.items()}
    keywords = "".join(f", {k}={v}" for k, v in words.items())
    return "\n".join(
        [
            "from gradtx.testing import laws",
            "schedule = ...  # the schedule that you passed",
            *opaque,
            f"laws.{name}(schedule, {count}{keywords})",
        ]
    )
