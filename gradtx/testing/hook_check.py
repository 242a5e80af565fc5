"""`check_hook` and `check_loop`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gradtx.kinds import checked
from gradtx.loop import Hook, Loop
from gradtx.testing.code import importable
from gradtx.testing.fixture import Fixture, PyTree, default_fixture
from gradtx.testing.hook_laws import HOOK_LAWS, LOOP_LAWS
from gradtx.testing.law import Law, LawViolation, select_claims
from gradtx.testing.promotion import rules
from gradtx.testing.report import Failure, Report
from gradtx.testing.search import Profile, search
from gradtx.testing.strategies import event_scripts


@checked
def check_hook(
    hook: Hook | Callable[[], Hook],
    *,
    loop: Loop | None = None,
    params: PyTree = None,
    model_state: PyTree = None,
    batches: Sequence[PyTree] | None = None,
    promotion: str | None = None,
    **claims: Any,
) -> Report:
    """Try every law of hooks on one, in a small fit.

        for law in laws:  law(hook, fixture)

    The fit is linear regression unless `loop`, `params` and `batches` give another, for a hook that
    needs to see something else.

    Args:
        hook: the hook, or a function without arguments that makes it.
        loop: the loop to try it in.
        params: the parameters to start from.
        model_state: the model state to start from.
        batches: at least two training batches.
        promotion: "standard" or "strict", the JAX rules for mixed dtypes and ranks to run under;
            `None` keeps those set around the call.
        claims: `observes=True`, that the hook changes nothing.

    Raises:
        AssertionError: with every law that fails, its formula and a script.
        TypeError: for an unknown claim, or for what is no hook.
        ValueError: if only part of `loop`, `params` and `batches` was given.
    """
    where = "check_hook"
    given = select_claims(where, claims, {"observes": False})
    made = hook if isinstance(hook, Hook) else hook() if callable(hook) else hook
    if not isinstance(made, Hook):
        raise TypeError(
            f"{where}: needs a Hook or a function that makes one; got {type(made).__name__}. Pass"
            " for example terminate_on_nan()."
        )
    fixture = make_fixture(where, loop, params, model_state, batches)
    passed, failures = [], []
    with rules(where, promotion):
        for law in HOOK_LAWS.values():
            if not law.when(given):
                continue
            try:
                law.check(made, fixture)
                passed.append(law.name)
            except LawViolation as violation:
                code = _hook_code(law, hook, loop is not None)
                failures.append(Failure(law.name, law.formula, violation.details, code))
    report = Report(f"hook {made.name!r}", tuple(passed), tuple(failures))
    return report.or_raise(where)


def make_fixture(
    where: str, loop: Loop | None, params: PyTree, model_state: PyTree, batches: Any
) -> Fixture:
    """The fit that was given, or the default one.

    Args:
        where: the beginning of the message, if only part of one was given.
        loop: of the fit.
        params: that it begins with.
        model_state: that it begins with.
        batches: of its one epoch.

    Raises:
        ValueError: if only part of one was given.
    """
    if loop is None and params is None and batches is None:
        return default_fixture()
    if loop is None or params is None or batches is None or len(batches) < 2:
        raise ValueError(
            f"{where}: `loop`, `params` and at least two `batches` go together; got a part of them."
            " Pass all three, or none for a linear regression."
        )
    return Fixture(loop, params, list(batches), model_state)


def _hook_code(law: Law, hook: Any, own_fixture: bool) -> str:
    found = None if isinstance(hook, Hook) else importable(hook)
    made = f"{found[1]}()" if found else "...  # the hook that you passed"
    fixture = "Fixture(loop, params, batches)  # yours" if own_fixture else "default_fixture()"
    lines = [
        "from gradtx.testing import laws",
        f"from gradtx.testing.fixture import {'Fixture' if own_fixture else 'default_fixture'}",
        *([found[0]] if found else []),
        f"hook = {made}",
        f"laws.{law.name}(hook, {fixture})",
    ]
    return "\n".join(lines)


@checked
def check_loop(
    loop: Loop | None = None,
    *,
    params: PyTree = None,
    model_state: PyTree = None,
    batches: Sequence[PyTree] | None = None,
    order_free: bool = False,
    profile: str = "quick",
    seed: int | None = 0,
    promotion: str | None = None,
) -> Report:
    """Try every law of loops on one, with its hooks, under scripts of requests.

        for law in laws:  for scripts that Hypothesis finds:  law(fixture, script)

    A script is a list of (event, occurrence, request). Without arguments the loop is a linear
    regression.

    Args:
        loop: the loop, with its hooks.
        params: the parameters to start from.
        model_state: the model state to start from.
        batches: at least two training batches.
        order_free: whether it claims that the order of the examples in a batch means nothing, as
            where nothing is drawn for each of them.
        profile: "quick" (seconds) or "thorough" (minutes).
        seed: seed of the search; `None` looks at new examples every time.
        promotion: "standard" or "strict", the JAX rules for mixed dtypes and ranks to run under;
            `None` keeps those set around the call.

    Raises:
        AssertionError: with every law that fails, its formula and the shrunken script.
        ValueError: if only part of `loop`, `params` and `batches` was given.
    """
    fixture = make_fixture("check_loop", loop, params, model_state, batches)
    settings = Profile.named("check_loop", profile)
    settings = replace(settings, examples=max(2, settings.examples // 3), shrinks=30)
    cases = event_scripts(steps=len(fixture.batches)).map(lambda script: {"script": script})
    passed, failures = [], []
    with rules("check_loop", promotion):
        for law in LOOP_LAWS.values():
            if not law.when({"order_free": order_free}):
                continue
            attempt = lambda case, law=law: law.check(fixture, **case)
            found = search(attempt, cases, settings, seed, cost=law.cost)
            if found is None:
                passed.append(law.name)
                continue
            violation, case = found
            code = _loop_code(law, case["script"], loop is not None)
            failures.append(Failure(law.name, law.formula, violation.details, code))
    report = Report("the loop", tuple(passed), tuple(failures))
    return report.or_raise("check_loop")


def _loop_code(law: Law, script: Sequence, own_fixture: bool) -> str:
    rows = [f"({event!r}, {k}, Request.{request.name})" for event, k, request in script]
    fixture = "Fixture(loop, params, batches)  # yours" if own_fixture else "default_fixture()"
    return "\n".join(
        [
            "from gradtx.loop import Request",
            "from gradtx.testing import laws",
            f"from gradtx.testing.fixture import {'Fixture' if own_fixture else 'default_fixture'}",
            f"fixture = {fixture}",
            f"laws.{law.name}(fixture, [{', '.join(rows)}])",
        ]
    )
