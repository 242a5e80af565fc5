"""What people search for stands in a heading of the page that answers: titles come first there."""

import json
import re
import subprocess
import sys

import pytest

from tests.markdown import ROOT

PAGES = {  # what is searched for -> pages whose title or heading must have it
    "nnx": ["nnx"],
    "Equinox": ["equinox"],
    "DataLoader": ["data"],
    "CSV": ["data"],
    "gradient accumulation": ["drivers", "questions"],
    "EMA": ["evaluation", "hooks"],
    "freeze": ["questions"],
    "weight decay": ["questions"],
    "early stopping": ["hooks", "questions"],
    "resume": ["training", "questions"],
    "GPU": ["gpu"],
    "NaN": ["questions"],
    "mixed precision": ["gpu", "keras"],
    "gradient clipping": ["hooks", "questions"],
    "learning-rate finder": ["drivers"],
    "class weights": ["metrics", "questions"],
    "fine-tune": ["first"],
    "out of memory": ["questions"],
    "several processes": ["scaling"],
}
CASES = [(words, page) for words, pages in PAGES.items() for page in pages]


def holds(title, words):
    return re.search(rf"\b{re.escape(words)}\b", title, re.I) is not None


@pytest.mark.parametrize(("words", "page"), CASES)
def test_what_is_searched_for_stands_in_a_heading(words, page):
    text = re.sub(r"^```.*?^```", "", (ROOT / "docs" / f"{page}.md").read_text(), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.*)", text, re.M)
    assert any(holds(heading, words) for heading in headings), headings


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """The search index of the built pages: title, text and place of each section."""
    pytest.importorskip("mkdocs", reason="it is in the extra `docs`: pip install 'gradtx[docs]'")
    site = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site]
    subprocess.run(build, cwd=ROOT, check=True)
    return json.loads((site / "search" / "search_index.json").read_text())["docs"]


@pytest.mark.thorough
@pytest.mark.parametrize(("words", "page"), CASES)
def test_the_search_index_has_it_as_a_title(words, page, entries):
    titled = [entry["location"] for entry in entries if holds(entry["title"], words)]
    assert any(place.startswith(f"{page}.html") for place in titled), titled
