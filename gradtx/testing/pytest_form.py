"""The kit as one line in a test file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradtx.kinds import checked
from gradtx.testing.check import PyTree, applicable, make_subject, run_laws


@checked
def law_tests(
    tx_or_factory: Any,
    *,
    profile: str = "quick",
    seed: int | None = 0,
    promotion: str | None = None,
    templates: Sequence[PyTree] | None = None,
    extra_args: Mapping[str, Any] | None = None,
    **claims: Any,
) -> Callable[[str], None]:
    """A pytest test with one case for each law that applies.

        test_mine = law_tests(my_factory, hyperparams={"learning_rate": 0.1}, linear=True)

    Needs pytest.

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
        TypeError, ValueError: when the test file is read, for an unknown claim or option.
    """
    import pytest

    subject = make_subject(tx_or_factory, extra_args, claims)
    names = [law.name for law in applicable(subject)]

    @pytest.mark.parametrize("law", names)
    def test_law(law: str) -> None:
        report = run_laws(
            subject,
            profile=profile,
            seed=seed,
            promotion=promotion,
            templates=templates,
            only=[law],
        )
        if law in report.unsupported:
            pytest.skip(f"{law} needs more than one device")
        if report.failures:
            pytest.fail(str(report), pytrace=False)

    return test_law
