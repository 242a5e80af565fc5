"""What a law is: a function with a formula that raises `LawViolation` where it does not hold."""

import difflib
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class LawViolation(AssertionError):
    """A law that does not hold.

    Args:
        name: name of the law.
        formula: what should hold.
        details: where it fails, and the values seen there.
    """

    def __init__(self, name: str, formula: str, details: str):
        """Keep the three parts, and show them together."""
        super().__init__(f"{name}: {details}\n{textwrap.indent(formula, '    ')}")
        self.name, self.formula, self.details = name, formula, details


class Broken(Exception):
    """Raised inside a law, with the details; its decorator adds the name and the formula."""


@dataclass(frozen=True)
class Law:
    """A law with what `check_transformation` must know to run it.

    Args:
        name: name of the function.
        check: the function, which raises `LawViolation` where the law does not hold.
        formula: what should hold: the second paragraph of the function's docstring.
        when: function from the claims to whether the law applies.
        arguments: function from the subject (of a law of schedules, from the claims) to the keyword
            arguments that come from the claims.
        draws: names of the keyword arguments that Hypothesis draws.
        trees: kind of parameter trees to try it on: see `gradtx.testing.trees`.
        steps: the least and the largest number of updates.
        elements: kind of numbers in the gradients: see `gradtx.testing.strategies`.
        of_factory: whether it is about a factory, and not about a transformation.
        cost: what the number of examples is divided by.
    """

    name: str
    check: Callable[..., None]
    formula: str
    when: Callable[[Any], Any] = lambda claims: True
    arguments: Callable[[Any], dict[str, Any]] = lambda subject: {}
    draws: tuple[str, ...] = ()
    trees: str = "plain"
    steps: tuple[int, int] = (1, 3)
    elements: str = "moderate"
    of_factory: bool = False
    cost: float = 1.0


LAWS: dict[str, Law] = {}


def with_tolerance(subject: Any) -> dict[str, Any]:
    """The `arguments` of a law that compares with the tolerance that is claimed."""
    return {"tolerance": subject.claims.tolerance}


def law(
    *, registry: dict[str, Law] | None = None, **options: Any
) -> Callable[[Callable], Callable]:
    """Enter a function in `registry`, and let it raise `LawViolation` under its own name.

    `registry` is `LAWS`, the laws of transformations, unless given.

    An error of another kind in a law means that the transformation itself raised it, which breaks
    the law too.
    """

    def decorate(function: Callable) -> Callable:
        name, formula = function.__name__, formula_of(function)

        @functools.wraps(function)
        def check(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except Broken as broken:
                raise LawViolation(name, formula, str(broken)) from None
            except LawViolation:
                raise
            except Exception as error:
                raised = f"{type(error).__name__}: {_first_lines(str(error))}"
                raise LawViolation(name, formula, f"raised {raised}") from error

        (LAWS if registry is None else registry)[name] = Law(name, check, formula, **options)
        return check

    return decorate


def select_claims(
    where: str, claims: Mapping[str, Any], known: Mapping[str, Any]
) -> dict[str, Any]:
    """`known`, a dict of defaults, with the claims in their places.

    Raises:
        TypeError: for a name that is no claim, with the nearest and all known ones.
    """
    for name in claims:
        if name not in known:
            raise TypeError(
                f"{where}: claims must be known by name; got `{name}`.{_meant(name, known)} Known"
                f" claims: {', '.join(known)}."
            )
    return {**known, **claims}


def check_only(where: str, only: Sequence[str], applicable: Sequence[str]) -> None:
    """Require that `only` names laws, and one at least of the `applicable` ones.

    Raises:
        TypeError: if it is no list of names.
        ValueError: for a name that no law has, with the nearest, or if no law is left to try.
    """
    if isinstance(only, str) or not isinstance(only, Iterable):
        raise TypeError(
            f"{where}: `only` must be a list of laws' names; got {only!r}. Pass for example"
            f" only=['linear']."
        )
    for name in only:
        if name not in LAWS:
            raise ValueError(
                f"{where}: `only` must name laws; got {name!r}.{_meant(name, LAWS)} The laws:"
                f" {', '.join(LAWS)}."
            )
    if not set(only) & set(applicable):
        raise ValueError(
            f"{where}: `only` must name a law that applies; got {list(only)}. Make the claim that"
            f" the law is about, or pass the factory; these apply: {', '.join(applicable)}."
        )


def _meant(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean `{near[0]}`?" if near else ""


def formula_of(function: Callable) -> str:
    """The formula of a docstring: its second paragraph."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return textwrap.dedent(paragraphs[1]).strip() if len(paragraphs) > 1 else ""


def _first_lines(text: str, most: int = 300) -> str:
    text = text.strip().split("\n\n")[0]
    return text if len(text) <= most else text[:most] + "..."
