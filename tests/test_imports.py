"""What imports what: the core needs jax and optax alone, and knows nothing of what uses it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = (
    *("tree", "hyper", "state", "protocol", "leaf", "compose", "base", "live", "labels"),
    *(
        "groups",
        "partition",
        "describe",
        "serialize",
        "interop",
        "wrappers",
        "transforms",
        "optimizers",
    ),
)
OUTER = ("loop", "hooks", "observers", "testing", "data", "checkpoint", "report", "run")


def imported(path):
    """The gradtx modules that a file imports, by full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            # `from gradtx import x` imports the module x, or needs the package alone.
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "gradtx"}


def modules():
    for path in sorted((ROOT / "gradtx").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


GRAPH = {
    name: {other for other in imported(path) if (ROOT / other.replace(".", "/")).is_dir()
           or (ROOT / (other.replace(".", "/") + ".py")).is_file()}
    for name, path in modules()
}  # fmt: skip


def test_the_core_imports_nothing_that_builds_on_it():
    for name, others in GRAPH.items():
        if len(name.split(".")) > 1 and name.split(".")[1] in CORE:
            outer = {x for x in others if x.split(".")[1:2] and x.split(".")[1] in OUTER}
            assert not outer, f"{name} imports {outer}"


def test_transforms_do_not_import_the_optimizers():
    for name, others in GRAPH.items():
        if name.startswith("gradtx.transforms"):
            assert not any(x.startswith("gradtx.optimizers") for x in others), name


def test_core_modules_form_no_cycle():
    core = {n for n in GRAPH if len(n.split(".")) > 1 and n.split(".")[1] in CORE}
    files = {n: {o for o in GRAPH[n] if o in core and o != n} for n in core}
    done = set()
    while files:
        free = {n for n, others in files.items() if others <= done}
        assert free, f"a cycle among {sorted(files)}"
        done |= free
        files = {n: o for n, o in files.items() if n not in free}


def test_models_do_not_know_gradtx():
    for path in (ROOT / "models").glob("*.py"):
        assert not imported(path), path


@pytest.mark.parametrize("module", ["gradtx"])
def test_import_loads_jax_and_optax_alone(module):
    heavy = ["flax", "orbax", "tensorflow", "hypothesis", "matplotlib", "grain", "rich"]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def drawn():
    """The arrows of CONTRIBUTING.md: part of gradtx -> the parts that it may import."""
    drawing = (ROOT / "CONTRIBUTING.md").read_text().split("<!-- imports -->\n\n")[1]
    arrows = {}
    for line in drawing.split("\n\n")[0].splitlines():
        heads, tails = (side.replace(",", " ").split() for side in line.split("->"))
        for head in heads:
            arrows.setdefault(head, set()).update(tails)
    return arrows


def test_contributing_draws_what_imports_what():
    may = drawn()
    for name, others in GRAPH.items():
        part = name.partition(".")[2].partition(".")[0]
        targets = {x.split(".")[1] for x in others if "." in x}
        extra = targets - {part} - may.get(part, set())
        assert not part or not extra, f"{name} imports {extra}: not in CONTRIBUTING.md's drawing"
    known = {name.split(".")[1] for name in GRAPH if "." in name}
    assert set(may) <= known, f"CONTRIBUTING.md draws {set(may) - known}"
