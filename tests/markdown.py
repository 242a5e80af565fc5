"""What the tests read of Markdown files: code blocks, which they run, and tables."""

import atexit
import io
import re
import shutil
import tempfile
from contextlib import chdir, redirect_stdout
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax

ROOT = Path(__file__).parents[1]
# Optax, Flax's norms in half precision and Equinox's need JAX's standard rules of promotion.
STANDARD = ("optax.md", "fastai.md", "equinox.md")


def read(path: Path) -> str:
    """A file without the blocks after `<!-- needs: NAME -->` whose package or file is not here."""

    def kept(m: re.Match[str]) -> str:
        here = Path(m.group(1)).exists() if "/" in m.group(1) else find_spec(m.group(1))
        return m.group() if here else "\n" * m.group().count("\n")

    needing = r"^<!-- needs: (\S+) -->\n```python\n.*?^```"
    return re.sub(needing, kept, path.read_text(), flags=re.S | re.M)


def blocks(path: Path, every: bool = False) -> list[tuple[int, str]]:
    """(line, source) of the Python blocks of a file that can run here, or of every one."""
    text = path.read_text() if every else read(path)
    found = re.finditer(r"^```python\n(.*?)^```", text, re.S | re.M)
    return [(text[: m.start()].count("\n") + 2, m.group(1)) for m in found]


def run(path: Path) -> dict[str, Any]:
    """Run the blocks of a file, one after another in one namespace, and return that."""
    namespace: dict[str, Any] = {"__name__": path.stem}
    for line, source in blocks(path):
        exec(compile("\n" * (line - 1) + source, str(path), "exec"), namespace)
    return namespace


@cache
def executed(path: Path) -> tuple[dict[str, Any], str]:
    """What `run` returns and what the blocks printed; once, in a folder of its own."""
    promotion = "standard" if path.name in STANDARD else "strict"
    said, folder = io.StringIO(), tempfile.mkdtemp()
    # Only at the end: a block may still save a checkpoint in the background.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with chdir(folder), redirect_stdout(said), jax.numpy_dtype_promotion(promotion):
        return run(path), said.getvalue()


def check_output(path: Path, said: str) -> None:
    """Require the lines that the file states with `#> `, in this order; "..." is any end of one."""
    rest = said.splitlines()
    for line in re.findall(r"^#> (.*)", read(path), re.M):
        at = next((i for i, text in enumerate(rest) if stands_for(line, text.rstrip())), None)
        printed = "\n".join(rest)
        assert at is not None, f"{path.name} says {line!r}; from there on was printed:\n{printed}"
        rest = rest[at + 1 :]


def stands_for(line: str, text: str) -> bool:
    """Whether `line`, which may end in "...", states the printed line `text`."""
    return text == line or (line.endswith("...") and text.startswith(line.removesuffix("...")))


class Row(NamedTuple):
    """A row of a table that says that two things are the same."""

    line: int
    left: str  # code
    right: tuple[str, ...]  # codes that are the same as the left one


def equivalences(path: Path, mark: str) -> list[Row]:
    """The rows of the tables after `<!-- same: mark -->`."""
    rows = []
    lines = path.read_text().splitlines()
    for start in [i for i, line in enumerate(lines) if line == f"<!-- same: {mark} -->"]:
        for number, line in enumerate(lines[start + 3 :], start + 4):
            if not line.startswith("|"):
                break
            left, right = (re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3])
            assert len(left) == 1 and right, f"{path.name}, line {number}: {line}"
            rows.append(Row(number, left[0], tuple(right)))
    return rows
