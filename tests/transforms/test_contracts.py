"""Every transform of the table keeps every law that its claims bring."""

import pytest

from gradtx.testing import check_transformation, examine
from tests.transforms.table import MACHINERY, OWN, TRANSFORMS

pytestmark = pytest.mark.usefixtures("compiled_once")


def room(row):
    return getattr(row.factory, "func", row.factory).__module__.split(".")[1]


REPRESENTATIVES = [row for row in TRANSFORMS if row.represents]
OTHERS = [row for row in TRANSFORMS if not row.represents]
CHAINS = [row for row in OTHERS if room(row) == "optimizers"]
RULES = [row for row in OTHERS if row not in CHAINS]


@pytest.mark.parametrize("row", REPRESENTATIVES, ids=lambda row: row.name)
def test_a_representative_keeps_all_laws(row):
    report = check_transformation(row.factory, **row.claims)
    assert not report.unsupported, "the suite gives the CPU eight devices"


@pytest.mark.parametrize("row", RULES, ids=lambda row: row.name)
def test_a_rule_keeps_its_own_laws(row):
    examine(row.factory, only=OWN, **row.claims).or_raise(row.name)


@pytest.mark.thorough
@pytest.mark.parametrize("row", CHAINS, ids=lambda row: row.name)
def test_a_chain_of_rules_keeps_its_own_laws(row):
    examine(row.factory, only=OWN, **row.claims).or_raise(row.name)


@pytest.mark.thorough
@pytest.mark.parametrize("row", OTHERS, ids=lambda row: row.name)
def test_a_rule_keeps_the_laws_of_the_machinery(row):
    examine(row.factory, only=MACHINERY, **row.claims).or_raise(row.name)


def test_names_are_unique():
    names = [row.name for row in TRANSFORMS]
    assert len(set(names)) == len(names)
