"""A property-testing kit for gradient transformations, schedules, hooks and loops.

>>> import optax
>>> from gradtx.testing import check_transformation
>>> report = check_transformation(optax.scale(2.0), linear=True, promotion="standard")
>>> "linear" in report.passed
True

It works on anything with Optax's `init` and `update`. `laws` are the laws one by one,
`strategies` draw trees, gradients and hyperparameters for tests of your own.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "hypothesis":
        raise
    raise ModuleNotFoundError(
        "gradtx.testing needs Hypothesis. Install it with `pip install 'gradtx[testing]'`.",
        name="hypothesis",
    ) from error

from gradtx.testing import laws, strategies
from gradtx.testing.check import check_transformation, examine
from gradtx.testing.claims import Claims
from gradtx.testing.hook_check import check_hook, check_loop
from gradtx.testing.laws import LawViolation
from gradtx.testing.pytest_form import law_tests
from gradtx.testing.report import Failure, Report
from gradtx.testing.schedule_laws import check_schedule

__all__ = [
    "Claims",
    "Failure",
    "LawViolation",
    "Report",
    "check_hook",
    "check_loop",
    "check_schedule",
    "check_transformation",
    "examine",
    "law_tests",
    "laws",
    "strategies",
]
