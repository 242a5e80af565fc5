"""What imports what: the core needs jax and optax alone, and knows nothing of what uses it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the ground up: a room imports of gradtx itself only what stands on a lower floor.
FLOORS = (
    ("drawing", "kinds", "models"),
    ("augment", "core", "files", "output"),
    ("config", "sealed"),
    ("data",),
    ("parallel", "precision", "schedules", "wrappers"),
    ("transforms",),
    ("loop", "optimizers"),
    ("checkpoint", "hooks", "inspection", "metrics", "testing", "tuning"),
    ("observers", "recipes"),
    ("report",),
    ("run",),
    ("__main__",),
)
# Modules that Optax has too: what hands its names through.
OPTAX = (
    *("assignment", "contrib", "experimental", "losses", "microbatching", "perturbations"),
    *("projections", "second_order", "tree", "tree_utils"),
)
FLOORS = (*FLOORS[:7], (*FLOORS[7], *OPTAX), *FLOORS[8:])
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def imported(path):
    """The gradtx modules that a file imports, by full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            # `from gradtx import x` imports the module x, or needs the package alone.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = {name for name in names if is_module(name)}
            found |= inside | ({node.module} if names - inside else set())
    return {name for name in found if name.split(".")[0] == "gradtx" and is_module(name)}


def is_module(name):
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def modules():
    for path in sorted((ROOT / "gradtx").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


GRAPH = {name: imported(path) for name, path in modules()}


def room(name):
    """The room of a module, or the loose module itself; "" for gradtx."""
    return name.partition(".")[2].partition(".")[0]


def rooms_of(name):
    """The other rooms that a module imports from."""
    return {room(other) for other in GRAPH[name]} - {room(name), ""}


def test_every_room_has_its_floor():
    assert {room(name) for name in GRAPH} - {""} == set(FLOOR)


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_a_room_imports_lower_floors_only(name):
    mine = FLOOR.get(room(name), len(FLOORS))
    higher = {other for other in rooms_of(name) if FLOOR[other] >= mine}
    assert not higher, f"{name} imports {higher}, which stand on its floor or above"


def test_modules_of_the_core_import_each_others_files():
    for name in GRAPH:
        if name.startswith("gradtx.core."):
            assert not GRAPH[name] & {"gradtx", "gradtx.core"}, name


def test_modules_form_no_cycle():
    # A package's `__init__` collects the names of its files; no file imports its own package.
    left = {n: {o for o in others if o != n} for n, others in GRAPH.items() if n != "gradtx"}
    done = {"gradtx"}
    while left:
        free = {n for n, others in left.items() if others <= done}
        assert free, f"a cycle among {sorted(left)}"
        done |= free
        left = {n: o for n, o in left.items() if n not in free}


def test_few_modules_are_loose():
    loose = {path.stem for path in (ROOT / "gradtx").glob("*.py")} - {"__init__", *OPTAX}
    assert len(loose) <= 7, loose


def code_lines(path):
    """The lines of a file without its docstrings and its list of public names."""
    text = path.read_text()
    tree = ast.parse(text)
    docs = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            docs |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        if isinstance(node, ast.Assign | ast.AugAssign) and "__all__" in ast.unparse(node):
            docs |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(text.splitlines()) - len(docs)


def test_no_module_is_long():
    long = {name: code_lines(path) for name, path in modules() if code_lines(path) > 250}
    assert not long


def test_models_do_not_know_gradtx():
    for path in (ROOT / "models").glob("*.py"):
        tree = ast.parse(path.read_text())
        names = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level}
        assert not any((name or "").split(".")[0] == "gradtx" for name in names), path


HEAVY = ("flax", "orbax", "tensorflow", "hypothesis", "matplotlib", "grain", "rich")


def loaded(module):
    """Which of the heavy packages are there after an import, in a process of its own."""
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return ast.literal_eval(out.stdout)


def test_import_loads_jax_and_optax_alone():
    assert loaded("gradtx") == []


def test_no_room_needs_matplotlib_before_it_draws():
    assert "matplotlib" not in loaded(", ".join(f"gradtx.{name}" for name in FLOOR))


def test_drawing_imports_nothing_of_gradtx():
    for name in GRAPH:
        assert room(name) != "drawing" or not rooms_of(name), name


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
    for name in GRAPH:
        extra = rooms_of(name) - may.get(room(name), set())
        assert not room(name) or not extra, f"{name} imports {extra}: not in CONTRIBUTING.md"
    assert set(may) == set(FLOOR)
