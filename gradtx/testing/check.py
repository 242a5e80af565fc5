"""Run the laws on a transformation and report every one that fails."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import optax

from gradtx.kinds import checked
from gradtx.testing.claims import Claims, make_claims
from gradtx.testing.code import counterexample
from gradtx.testing.law import LAWS, Law, check_only
from gradtx.testing.promotion import rules
from gradtx.testing.report import Failure, Report
from gradtx.testing.search import Profile, find_counterexample
from gradtx.testing.target import Target

PyTree = Any


@dataclass(frozen=True)
class Subject:
    """The transformation under test, with the factory that makes it if one was given.

    `code` is the code of what a command line named, in place of what can be seen of it: of the
    "subject", and of a claim or an argument "--arg NAME" by name.
    """

    tx: optax.GradientTransformation
    factory: Any  # a function, or None
    claims: Claims
    extra_args: Mapping[str, Any] | None = None
    code: Mapping[str, Target] = field(default_factory=dict)

    def rebuilt(self) -> Any:
        """The transformation made anew, as after a restart; the same one without a factory."""
        if self.factory is None:
            return self.tx
        return _with_extra(self.factory(**self.claims.hyperparams), self.extra_args)

    @property
    def name(self) -> str:
        """What the report calls it."""
        made = self.tx.update if self.factory is None else self.factory
        made = getattr(made, "func", made)
        name = getattr(made, "__qualname__", "").split(".")[0]
        return name if name.isidentifier() else "the transformation"

    @cached_property
    def wrapped_factory(self) -> Callable:
        """The factory, for laws of hyperparameters."""
        if not self.extra_args:
            return self.factory
        return lambda **values: _with_extra(self.factory(**values), self.extra_args)


@checked
def check_transformation(
    tx_or_factory: Any,
    *,
    profile: str = "quick",
    seed: int | None = 0,
    promotion: str | None = None,
    templates: Sequence[PyTree] | None = None,
    extra_args: Mapping[str, Any] | None = None,
    **claims: Any,
) -> Report:
    """Try every law that applies to a gradient transformation: Optax's, gradtx's or your own.

        for law in laws:  for all (params, grads) that Hypothesis finds:  law(tx, params, grads)

    Args:
        tx_or_factory: a transformation, or a function that makes one, `factory(**hyperparams)`,
            which the laws of hyperparameters need.
        profile: "quick" (seconds) or "thorough" (minutes).
        seed: seed of the search; `None` looks at new examples every time.
        promotion: "standard" or "strict", the JAX rules for mixed dtypes and ranks to run under;
            `None` keeps those set around the call.
        templates: parameter trees, of arrays or shapes, to try in place of the default ones.
        extra_args: keyword arguments for every update, as `value=` for `optax.polyak_sgd`.
        claims: what it claims to be: see `Claims`.

    Raises:
        AssertionError: with every law that fails, its formula, and a shrunken counterexample as a
            script.
        TypeError, ValueError: for an unknown claim or option.
    """
    report = examine(
        tx_or_factory,
        profile=profile,
        seed=seed,
        promotion=promotion,
        templates=templates,
        extra_args=extra_args,
        **claims,
    )
    return report.or_raise("check_transformation")


@checked
def examine(
    tx_or_factory: Any,
    *,
    profile: str = "quick",
    seed: int | None = 0,
    promotion: str | None = None,
    templates: Sequence[PyTree] | None = None,
    extra_args: Mapping[str, Any] | None = None,
    only: Sequence[str] | None = None,
    **claims: Any,
) -> Report:
    """`check_transformation`, but returning the report also where laws fail.

    Args:
        tx_or_factory: a transformation, or a function that makes one, `factory(**hyperparams)`,
            which the laws of hyperparameters need.
        profile: "quick" (seconds) or "thorough" (minutes).
        seed: seed of the search; `None` looks at new examples every time.
        promotion: "standard" or "strict", the JAX rules for mixed dtypes and ranks to run under;
            `None` keeps those set around the call.
        templates: parameter trees, of arrays or shapes, to try in place of the default ones.
        extra_args: keyword arguments for every update, as `value=` for `optax.polyak_sgd`.
        only: names of the laws to try, of those that apply; all of them by default. The names are
            those in `passed` and `failed` of a report, and of the functions in
            `gradtx.testing.laws`.
        claims: what it claims to be: see `Claims`.

    Raises:
        TypeError, ValueError: for an unknown claim, option or law, and if no law is left to try.
    """
    subject = make_subject(tx_or_factory, extra_args, claims)
    return run_laws(
        subject, profile=profile, seed=seed, promotion=promotion, templates=templates, only=only
    )


def run_laws(
    subject: Subject,
    *,
    profile: str,
    seed: int | None,
    promotion: str | None,
    templates: Sequence[PyTree] | None,
    only: Sequence[str] | None = None,
) -> Report:
    """Try the laws that apply to `subject`, of those in `only`."""
    where = "check_transformation"
    settings = Profile.named(where, profile)
    laws = list(applicable(subject))
    if only is not None:
        check_only(where, only, [law.name for law in laws])
        laws = [law for law in laws if law.name in only]
    passed, failures, unsupported = [], [], []
    with rules(where, promotion):
        for law in laws:
            if law.trees == "sharded" and len(jax.devices()) == 1:
                unsupported.append(law.name)
                continue
            failure = try_law(law, subject, settings, seed, templates)
            if failure is None:
                passed.append(law.name)
                continue
            failures.append(failure)
            if law.name == "returns":
                break
    return Report(subject.name, tuple(passed), tuple(failures), tuple(unsupported))


def make_subject(tx_or_factory: Any, extra_args: Any, claims: Mapping[str, Any]) -> Subject:
    """The transformation under test with its claims.

    Raises:
        TypeError: if it is neither a transformation nor a factory, or a claim is unknown.
        ValueError: if `hyperparams` are claimed of a transformation already made.
    """
    where = "check_transformation"
    made = make_claims(where, claims)
    if hasattr(tx_or_factory, "init") and hasattr(tx_or_factory, "update"):
        if made.hyperparams:
            raise ValueError(
                f"{where}: `hyperparams` needs the factory, to make the transformation with other"
                " values; got a transformation. Pass the function that makes it: adam, not"
                " adam(0.1)."
            )
        return Subject(_with_extra(tx_or_factory, extra_args), None, made, extra_args)
    if not callable(tx_or_factory):
        raise TypeError(
            f"{where}: needs a gradient transformation (an init and an update) or a function that"
            f" makes one; got {type(tx_or_factory).__name__}. Pass for example optax.adam(0.1)."
        )
    tx = _made(where, tx_or_factory, made.hyperparams)
    if not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(
            f"{where}: the factory must return a gradient transformation (an init and an update);"
            f" got {type(tx).__name__}. Pass the factory of one."
        )
    return Subject(_with_extra(tx, extra_args), tx_or_factory, made, extra_args)


def _made(where: str, factory: Callable, hyperparams: Mapping[str, Any]) -> Any:
    """What `factory` makes, after a look at whether it can be called at all."""
    try:
        inspect.signature(factory).bind(**hyperparams)
    except TypeError as error:
        name = getattr(factory, "__name__", "factory")
        raise TypeError(
            f"{where}: the factory must be callable as {name}(**hyperparams); got"
            f" hyperparams={dict(hyperparams)}, and {error}. Pass a transformation, {name}(...), or"
            f" its arguments as hyperparams={{...}}, or lambda: {name}(...)."
        ) from error
    except ValueError:  # it has no signature to look at
        pass
    return factory(**hyperparams)


def _with_extra(tx: Any, extra_args: Mapping[str, Any] | None) -> Any:
    if not extra_args:
        return tx

    def update(updates: PyTree, state: Any, params: PyTree = None, **extra: Any) -> Any:
        return tx.update(updates, state, params, **(dict(extra_args) | extra))

    return optax.GradientTransformationExtraArgs(tx.init, update)


def applicable(subject: Subject) -> Iterator[Law]:
    """The laws that apply, by the claims and by whether there is a factory; `returns` first."""
    for law in sorted(LAWS.values(), key=lambda law: law.name != "returns"):
        if law.when(subject.claims) and not (law.of_factory and subject.factory is None):
            yield law


def try_law(
    law: Law, subject: Subject, profile: Profile, seed: int | None, templates: Any
) -> Failure | None:
    """Search for a counterexample to one law."""
    first = subject.wrapped_factory if law.of_factory else subject.tx
    constant = law.arguments(subject)
    found = find_counterexample(law, first, constant, subject.claims, profile, seed, templates)
    if found is None:
        return None
    violation, arguments = found
    code = counterexample(law, subject, arguments)
    return Failure(law.name, law.formula, violation.details, code)
