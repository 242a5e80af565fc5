"""docs/laws.md: the table, its scripts and the list of laws say the same, and the scripts fail."""

import inspect
import json
import runpy
from importlib.metadata import version

import jax
import optax
import pytest
from optax import contrib

from gradtx.testing.law import LAWS
from tests.testing.optax_transformations import ROWS
from tools.law_table.field import LEFT_OUT, entries
from tools.law_table.page import PAGE, SCRIPTS, TABLE, failing, page, path_of

ROWS_BY_NAME = json.loads(TABLE.read_text())
CELLS = failing(ROWS_BY_NAME)
OPTAX = [cell for cell in CELLS if cell[0].startswith("optax.")]
FEW = [("optax.adam", "state_is_fixed_point_mixed"), ("optax.contrib.normalize", "finite")]


def test_the_page_is_that_of_the_table():
    assert PAGE.read_text() == page(ROWS_BY_NAME)


def test_every_failing_cell_has_a_script_and_no_other():
    assert {path.name for path in SCRIPTS.glob("*.py")} == {path_of(*cell) for cell in CELLS}
    assert not [path for path in SCRIPTS.glob("*.py") if "gradtx" in path.read_text()]


def test_the_table_knows_the_laws():
    assert {law for row in ROWS_BY_NAME.values() for law in row["laws"]} <= set(LAWS)
    assert set(ROWS_BY_NAME) == {entry.name for entry in entries()}


def test_the_table_and_the_rows_of_the_tests_break_the_same_laws():
    names = [entry.name for entry in entries()][: len(ROWS)]
    found = {name: {law for row, law in OPTAX if row == name} for name in names}
    assert [set(row.known) for row in ROWS] == [found[name] for name in names]


def test_every_transformation_of_optax_has_a_row_or_a_reason():
    rows = {name.split(",")[0] for name in ROWS_BY_NAME} | set(LEFT_OUT)
    for module, home in ((optax, "optax"), (contrib, "optax.contrib")):
        for name, made in vars(module).items():
            if name.startswith("_") or not inspect.isfunction(made):
                continue
            if "GradientTransformation" in str(inspect.signature(made).return_annotation):
                assert f"{home}.{name}" in rows


def fails(cell):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        with pytest.raises(Exception) as caught:
            runpy.run_path(str(SCRIPTS / path_of(*cell)))
    assert not isinstance(caught.value, ImportError | NameError | SyntaxError)


@pytest.mark.skipif(version("optax") != "0.2.8", reason="the table is of Optax 0.2.8")
@pytest.mark.parametrize("cell", FEW, ids="-".join)
def test_a_script_shows_what_it_says(cell):
    fails(cell)


@pytest.mark.thorough
@pytest.mark.skipif(version("optax") != "0.2.8", reason="the table is of Optax 0.2.8")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("cell", OPTAX, ids="-".join)
def test_every_script_shows_what_it_says(cell):
    fails(cell)
