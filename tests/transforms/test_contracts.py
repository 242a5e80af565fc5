"""Every transform of the table keeps every law that its claims bring."""

import pytest

from gradtx.testing import check_transformation
from tests.transforms.table import TRANSFORMS


@pytest.mark.parametrize("row", TRANSFORMS, ids=lambda row: row.name)
def test_keeps_the_laws(row):
    report = check_transformation(row.factory, **row.claims)
    assert not report.unsupported, "the suite gives the CPU eight devices"


def test_names_are_unique():
    names = [row.name for row in TRANSFORMS]
    assert len(set(names)) == len(names)
