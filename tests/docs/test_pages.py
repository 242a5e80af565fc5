"""Nothing on a page is beyond the tests: its blocks, its tables, its commands."""

import importlib.util
import re
import shlex

import pytest

import train
from gradtx.config import parse
from tests.markdown import ROOT, blocks, stands_for

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^([ \t]*)```(.*)$", re.M)
MARKS = {  # each is read by a test: in test_pages.py, or in the one of its name
    "fastai.md": {
        *("fastai", "fastai schedules", "fastai learner", "fastai values", "fastai requests"),
        *("fastai order", "fastai callbacks"),
    },
    "keras.md": {
        *("keras", "keras schedules", "keras fit", "keras values", "keras callbacks"),
        "keras scale",
    },
    "optax.md": {"optax", "schedules"},
    "pytorch.md": {"torch", "torch schedules", "torch steps", "torch changes", "torch hooks"},
}


def of_kind(path, kind):
    """The blocks of a language, found another way than `blocks` finds Python's."""
    opened, found = None, []
    for line in path.read_text().splitlines():
        if line.lstrip().startswith("```"):
            if opened is None:
                opened = (line.strip().removeprefix("```"), [])
            else:
                found.append(opened)
                opened = None
        elif opened is not None:
            opened[1].append(line)
    assert opened is None, f"{path.name} has a block without an end"
    return ["\n".join(lines) for language, lines in found if language == kind]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_block_is_run_or_is_of_the_shell(path):
    found = blocks(path, every=True)
    assert len(of_kind(path, "python")) == len(found)
    runs = path.name == "README.md" or path.parent.name == "docs"
    assert runs or not found, f"{path} is not among the pages whose blocks the tests run"
    shown = len(of_kind(path, "bash")) + len(of_kind(path, "text"))
    assert len(FENCE.findall(path.read_text())) == 2 * (len(found) + shown)


def test_what_blocks_need_is_what_other_tests_have():
    text = "\n".join(page.read_text() for page in PAGES)
    needs = re.findall(r"^<!-- needs: (.*) -->\n```python$", text, re.M)
    # PyTorch and Hugging Face where they are installed; tests/run/test_export.py writes the file.
    assert set(needs) == {"torch", "datasets", "exported/model.json"}


@pytest.mark.parametrize(
    "line, text, same",
    [
        ("got 3", "got 3", True),
        ("got 3", "got 31", False),
        ("must be", "must be one; got 3", False),
        ("must be ...", "must be one; got 3", True),
        ("must be ...", "it must be one", False),
    ],
)
def test_a_stated_line_is_whole_unless_it_says_so(line, text, same):
    assert stands_for(line, text) == same


@pytest.mark.parametrize("page", MARKS)
def test_every_table_for_newcomers_is_run(page):
    text = (ROOT / "docs" / page).read_text()
    marks = re.findall(r"^<!-- same: (.*) -->\n\|", text, re.M)
    assert set(marks) == MARKS[page]
    tables = len(re.findall(r"^\|---", text, re.M))
    # What is different, or where it is, is told; tests/test_optax_in_place.py runs what fails.
    assert tables - len(marks) == {"optax.md": 2, "fastai.md": 2, "keras.md": 3}.get(page, 0)


def test_each_difference_from_optax_is_shown_below_the_table():
    text = (ROOT / "docs" / "optax.md").read_text()
    _, _, section = text.partition("## What becomes better by itself, and what is different")
    table, _, below = section.partition("Row by row")
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 11
    for row in rows:
        assert row.lower() in below.lower(), row


def commands(path):
    """The lines of the shell's blocks without their comments."""
    lines = "\n".join(of_kind(path, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


COMMANDS = [(path.name, words) for path in PAGES for words in commands(path)]


def test_the_commands_have_options_that_exist(capsys):
    seen = 0
    for name, words in COMMANDS:
        if "train.py" not in words or "predict" in words:
            continue
        seen += 1
        rest = [word.rstrip('"') for word in words[words.index("train.py") + 1 :]]
        try:
            parse(train.TrainOptions, rest)
        except SystemExit:
            pytest.fail(f"{name}: {shlex.join(words)}: {capsys.readouterr().err}")
    assert seen > 15


def test_the_commands_have_modules_that_exist():
    seen = set()
    for _, words in COMMANDS:
        seen |= {words[i + 1] for i, word in enumerate(words[:-1]) if word == "-m"}
    assert {"pytest", "benchmarks.all", "benchmarks.article", "benchmarks.scaling"} <= seen
    for module in seen - {"venv"}:
        assert importlib.util.find_spec(module), module
