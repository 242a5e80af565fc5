"""No false alarm on Optax: what the kit reports of it is what is known, and is so.

The defects are described in gradtx/testing/KNOWN.md.
"""

from pathlib import Path

import pytest

import gradtx.testing
from gradtx.testing import examine
from tests.testing.optax_transformations import ROWS

KNOWN = Path(gradtx.testing.__file__).with_name("KNOWN.md")


def test_there_are_enough():
    assert len(ROWS) >= 40
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_breaks_the_laws_that_it_is_known_to_break(row):
    report = examine(row.factory, promotion="standard", **row.claims)
    assert set(report.failed) == set(row.known), str(report)


def test_every_known_defect_is_documented():
    text = KNOWN.read_text()
    for row in ROWS:
        assert all(f"`{law}`" in text for law in row.known), row.name
