"""No false alarm on Optax: what the kit reports of it is what is known, and is so.

The defects are described in gradtx/testing/KNOWN.md.
"""

from pathlib import Path

import pytest

import gradtx.testing
from gradtx.testing import examine
from gradtx.testing.law import LAWS
from gradtx.testing.trees import has_float16
from tests.testing.optax_transformations import ROWS
from tests.transforms.table import OWN

pytestmark = pytest.mark.usefixtures("compiled_once")

PYTREE = tuple(name for name, law in LAWS.items() if law.check.__module__.endswith(".pytree"))
KNOWN = Path(gradtx.testing.__file__).with_name("KNOWN.md")
name = lambda row: row.name


def seen(laws):
    """What of these laws can be broken here: most low precision is lost in float16 alone."""
    return set(laws) if has_float16() else set(laws) - {"finite_low_precision"}


def examined(row, only=None):
    return examine(row.factory, promotion="standard", only=only, **row.claims)


def test_names_are_unique():
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.thorough
@pytest.mark.parametrize("row", [row for row in ROWS if row.represents], ids=name)
def test_a_representative_breaks_the_laws_that_it_is_known_to_break(row):
    report = examined(row)
    assert seen(report.failed) == seen(row.known), str(report)


# Those of optax.contrib stand in docs/laws.md besides.
SHOWN = [
    pytest.param(row, marks=pytest.mark.thorough) if row.name.startswith("contrib.") else row
    for row in ROWS
]


@pytest.mark.parametrize("row", SHOWN, ids=name)
def test_breaks_the_laws_that_it_is_known_to_break(row):
    report = examined(row, only=row.known or OWN)
    assert seen(report.failed) == seen(row.known), str(report)


@pytest.mark.thorough
@pytest.mark.parametrize("row", [row for row in ROWS if not row.represents], ids=name)
def test_breaks_no_other_law(row):
    report = examined(row)
    assert seen(report.failed) == seen(row.known), str(report)


def test_every_known_defect_is_documented():
    text = KNOWN.read_text()
    for row in ROWS:
        assert all(f"`{law}`" in text for law in row.known), row.name


@pytest.mark.parametrize("row", [row for row in ROWS if not row.represents], ids=name)
def test_keeps_the_laws_of_the_pytree(row):
    report = examined(row, only=PYTREE)
    assert not set(report.failed) - set(row.known), str(report)
