"""The search for a counterexample to one law, by Hypothesis."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from gradtx.testing.law import Law, LawViolation
from gradtx.testing.strategies import NUMBERS, fill, size_of
from gradtx.testing.trees import trees


@dataclass(frozen=True)
class Profile:
    """How long to search: examples for each law, and calls spent on shrinking one."""

    name: str
    examples: int
    shrinks: int

    @staticmethod
    def named(where: str, name: str) -> "Profile":
        """The profile "quick" or "thorough".

        Raises:
            ValueError: for another name.
        """
        known = {"quick": Profile("quick", 10, 60), "thorough": Profile("thorough", 200, 600)}
        if name not in known:
            raise ValueError(
                f"{where}: `profile` must be one of {', '.join(known)}; got {name!r}. Choose one."
            )
        return known[name]


SCALARS: dict[str, st.SearchStrategy] = {
    "factor": st.sampled_from((2.0, 0.5, 3.0, 8.0)),
    "other_factor": st.sampled_from((1.0, -2.0, 0.5, 3.0)),
    "loss_scale": st.sampled_from((2.0**16, 2.0**10)),
    "length": st.sampled_from((2.0, 0.25)),
    "energy": st.sampled_from((1.0, 8.0, 0.5)),
    "place": st.integers(0, 2),
    "bad": st.sampled_from((np.nan, np.inf, -np.inf)),
}


@st.composite
def cases(draw: Any, law: Law, pairs: st.SearchStrategy) -> dict[str, Any]:
    """Keyword arguments for a law, but for those that come from the claims.

    `pairs` draws the structures of (parameters, gradients).
    """
    params, grads = draw(pairs)
    steps = draw(st.integers(*law.steps))
    n, m = size_of(params), size_of(grads)
    # One draw for all the numbers: drawing is what most of the time would go to.
    sizes = {"params": n, "grads": m * steps, "other": m * steps, "other_params": n}
    wanted = ["params", "grads", *(name for name in law.draws if name in sizes)]
    total = sum(sizes[name] for name in wanted)
    raw = draw(st.binary(min_size=total, max_size=total))
    case: dict[str, Any] = {}
    for name in wanted:
        mine, raw = raw[: sizes[name]], raw[sizes[name] :]
        if name.endswith("params"):
            case[name] = fill(params, mine, NUMBERS["moderate"])
        else:
            numbers = NUMBERS[law.elements]
            case[name] = [fill(grads, mine[m * t : m * t + m], numbers) for t in range(steps)]
    return case | {name: draw(SCALARS[name]) for name in law.draws if name in SCALARS}


def find_counterexample(
    law: Law,
    subject: Any,
    constant: Mapping[str, Any],
    claims: Any,
    profile: Profile,
    seed: int | None,
    templates: Any,
) -> tuple[LawViolation, dict[str, Any]] | None:
    """The violation and the arguments of a shrunken counterexample, if there is one."""
    pairs = trees(law.trees, templates, low_precision=claims.low_precision)
    attempt = lambda case: law.check(subject, **case, **constant)
    found = search(attempt, cases(law, pairs), profile, seed, cost=law.cost)
    return found and (found[0], found[1] | dict(constant))


def search(
    attempt: Callable[[dict[str, Any]], None],
    strategy: st.SearchStrategy[dict[str, Any]],
    profile: Profile,
    seed: int | None,
    *,
    cost: float = 1.0,
) -> tuple[LawViolation, dict[str, Any]] | None:
    """The violation that `attempt` raises on a shrunken case from `strategy`, and the case."""
    budget = _Budget(profile.shrinks)
    run = given(strategy)(lambda case: budget.call(lambda: attempt(case), case))
    run = settings(
        max_examples=max(1, round(profile.examples / cost)),
        deadline=None,
        database=None,
        derandomize=False,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]
    )(run)
    try:
        (run if seed is None else seeded(seed)(run))()
    except LawViolation:
        return budget.best
    return None


class _Budget:
    """Limits the calls that shrinking may spend, since each can compile something.

    When it is spent, only the cases seen to fail fail; Hypothesis then stops at the best of them.
    """

    def __init__(self, shrinks: int):
        self.left, self.seen, self.best = shrinks, {}, None

    def call(self, check: Callable[[], None], arguments: dict[str, Any]) -> None:
        key = _key(arguments) if self.seen else None
        if key in self.seen:
            self.best = self.seen[key]
            raise self.best[0]
        if self.seen:
            if self.left <= 0:
                return
            self.left -= 1
        try:
            check()
        except LawViolation as violation:
            self.best = (violation, arguments)
            self.seen[key or _key(arguments)] = self.best
            raise


def _key(arguments: dict[str, Any]) -> str:
    leaves, treedef = jax.tree.flatten(arguments)
    parts = [f"{x.dtype}{x.tolist()}" if hasattr(x, "dtype") else repr(x) for x in leaves]
    return f"{treedef}{parts}"
