"""The kit catches every seeded defect, by the law that is about it and by no other."""

from functools import partial

import pytest

from gradtx.testing import examine
from tests.testing.defects import ADAM_ORACLE, DEFECTS, adam, counting_pair, scheduled

pytestmark = pytest.mark.usefixtures("compiled_once")


def test_names_are_unique():
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_defect_is_caught_by_its_laws(defect):
    report = examine(defect.factory, only=defect.laws, **defect.claims)
    assert set(report.failed) == set(defect.laws), str(report)


@pytest.mark.thorough
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_defect_is_caught_by_no_other_law(defect):
    report = examine(defect.factory, **defect.claims)
    assert set(defect.laws) <= set(report.failed), str(report)
    if not defect.spreads:
        assert set(report.failed) == set(defect.laws), str(report)


@pytest.mark.thorough
def test_without_the_defect_all_laws_hold():
    """The same code, right: what the defects are caught for is what they change."""
    claims = {"scale_invariant": True, "zero_is_fixed_point": True, "bias_corrected": True}
    hyperparams = {"hyperparams": {"learning_rate": 0.1}, "proportional_to": "learning_rate"}
    for factory, mine in (
        (adam, {"oracle": ADAM_ORACLE}),
        (partial(adam, eps=1e-8), claims),
        (scheduled(), hyperparams),
        (counting_pair, {}),
    ):
        assert examine(factory, low_precision=False, **mine).failed == ()
