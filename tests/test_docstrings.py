"""Every public name of ours says what it is, what it takes, what it raises and where it is from.

`python -m tests.test_docstrings` prints what is missing, by module.

The names are those of tests/api.txt, those of the modules among them, and the methods of the
classes. A name is checked once, where it is defined; what is defined elsewhere (in Optax) is not
ours to describe. The rules:

    summary     the first paragraph is one line and ends with a period
    formula     in the rooms of FORMULA a function's second paragraph is one, indented
    Args:       names each parameter once and nothing else; a field of a dataclass or a NamedTuple
                has a line there, or a comment on its own line
    Raises:     where the body raises, or that of a private function in its module that it calls
    Source:     in the rooms of SOURCE
"""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
import types
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.test_api import LISTED, names

FORMULA = (
    *("gradtx.transforms", "gradtx.optimizers", "gradtx.schedules", "gradtx.wrappers"),
    "gradtx.losses",
)
SOURCE = ("gradtx.transforms", "gradtx.optimizers")
# Methods that JAX calls; users don't, and the pages leave them out.
OF_JAX = ("tree_flatten", "tree_unflatten", "tree_flatten_with_keys")


def in_rooms(made: Any, rooms: tuple[str, ...]) -> bool:
    return f"{made.__module__}.".startswith(tuple(f"{room}." for room in rooms))


def is_ours(made: Any) -> bool:
    module = getattr(made, "__module__", None) or ""
    return isinstance(made, type | types.FunctionType) and module.split(".")[0] == "gradtx"


def public_modules() -> list[str]:
    """Those of the list, and those that are public names of them."""
    found = list(LISTED)
    for module in found:
        made = importlib.import_module(module)
        inside = (getattr(made, name) for name in names(module))
        found += [m.__name__ for m in inside if inspect.ismodule(m) and m.__name__ not in found]
    return found


def methods(made: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class itself defines."""
    for name, part in vars(made).items():
        function = getattr(part, "fget", None) or getattr(part, "__func__", None)
        function = function or getattr(part, "func", None) or part
        hidden = name.startswith("_") or name in OF_JAX or name in fields_of(made)
        if not hidden and isinstance(function, types.FunctionType):
            yield name, function


def subjects() -> dict[str, Any]:
    """What has to have a docstring, by the name of where it is defined."""
    found = {}
    for module in public_modules():
        for made in (getattr(importlib.import_module(module), name) for name in names(module)):
            if not is_ours(made):
                continue
            place = f"{made.__module__}.{made.__qualname__}"
            found[place] = made
            if inspect.isclass(made):
                found |= {f"{place}.{name}": part for name, part in methods(made)}
    return dict(sorted(found.items()))


def fields_of(made: Any) -> list[str]:
    """The fields of a dataclass or a NamedTuple that its constructor takes."""
    if dataclasses.is_dataclass(made):
        return [f.name for f in dataclasses.fields(made) if f.init and f.name[0] != "_"]
    return list(getattr(made, "_fields", ()))


def parameters(made: Any) -> list[str]:
    own = vars(made).get("__init__") if inspect.isclass(made) else made
    if own is None or not callable(own):
        return []
    bound = ("self", "cls") if "." in own.__qualname__ else ()
    return [name for name in inspect.signature(own).parameters if name not in bound]


def commented(made: type) -> set[str]:
    """The fields that have a comment on their own line."""
    return set(re.findall(r"^ +(\w+): .*  # \S", inspect.getsource(made), re.M))


def doc_of(made: Any) -> str:
    """The docstring, of a class with that of its constructor."""
    own = vars(made).get("__init__") if inspect.isclass(made) else None
    is_written = inspect.isfunction(own) and not fields_of(made)
    parts = [made.__doc__, own.__doc__ if is_written else None]
    return "\n\n".join(inspect.cleandoc(part) for part in parts if part)


def section(doc: str, head: str) -> str | None:
    """The indented lines under `head`."""
    found = re.search(rf"^{head}:\n((?:    .*\n|\n)*)", doc + "\n", re.M)
    return found.group(1) if found else None


def raises(made: Any) -> bool:
    """Whether the body raises, or that of a private function in its module that it calls."""
    body = _parsed(made)
    module = inspect.getmodule(made)
    calls = [n.func for n in ast.walk(body) if isinstance(n, ast.Call)]
    called = {f.id for f in calls if isinstance(f, ast.Name) and f.id.startswith("_")}
    helpers = [getattr(module, name, None) for name in called]
    bodies = [body, *(_parsed(h) for h in helpers if inspect.isfunction(h) and is_ours(h))]
    return any(isinstance(n, ast.Raise) and n.exc for b in bodies for n in ast.walk(b))


def _parsed(made: Any) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(made))))


def missing(made: Any) -> list[str]:
    """What the docstring of `made` has to say and doesn't."""
    doc = doc_of(made)
    if not doc.strip():
        return ["a docstring"]
    summary, second, *_ = [*doc.split("\n\n"), ""]
    is_class = inspect.isclass(made)
    said = [] if re.fullmatch(r".+\.", summary) else ["a summary of one line, with a period"]
    is_method = "." in made.__qualname__
    if not is_class and not is_method and in_rooms(made, FORMULA):
        said += [] if second.startswith("    ") else ["a formula after the summary"]
    args = re.findall(r"^    \*{0,2}(\w+): \S", section(doc, "Args") or "", re.M)
    wanted = fields_of(made) if is_class and fields_of(made) else parameters(made)
    described = {*args, *(commented(made) if is_class and fields_of(made) else ())}
    said += [f"Args: {name}" for name in wanted if name not in described]
    said += [f"no such parameter: {name}" for name in args if name not in wanted]
    said += [f"Args: {name} once only" for name, count in Counter(args).items() if count > 1]
    constructor = [vars(made).get(n) for n in ("__init__", "__post_init__")] if is_class else [made]
    written = [f for f in constructor if inspect.isfunction(f) and is_written(f)]
    if any(map(raises, written)) and not (section(doc, "Raises") or "").strip():
        said += ["Raises:"]
    if not is_method and in_rooms(made, SOURCE) and not re.search(r"^Source: \S", doc, re.M):
        said += ["Source:"]
    return said


def is_written(function: Any) -> bool:
    """Not made by `dataclass`: there is source to read."""
    return not inspect.unwrap(function).__code__.co_filename.startswith("<")


SUBJECTS = subjects()


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_docstring_is_complete(name):
    assert not missing(SUBJECTS[name])


@pytest.mark.parametrize("module", public_modules())
def test_a_public_module_says_what_it_is(module):
    assert (importlib.import_module(module).__doc__ or "").strip()


def _fine(a: int, *rest: int, b: int = 0) -> int:
    """Add.

        a + b

    Args:
        a: a number.
        *rest: more of them.
        b: another
            number.

    Raises:
        ValueError: always.

    Source: common sense.
    """
    return _refuse(a, b)


def _refuse(*numbers: int) -> int:
    raise ValueError(numbers)


# A change to the docstring of `_fine`, and what is then missing.
DEFECTS: list[tuple[Callable[[str], str], list[str]]] = [
    (lambda doc: doc, []),
    (lambda doc: "", ["a docstring"]),
    (lambda doc: doc.replace("Add.", "Add"), ["a summary of one line, with a period"]),
    (lambda doc: doc.replace("    a + b\n\n", ""), ["a formula after the summary"]),
    (lambda doc: doc.replace("    a: a number.\n", ""), ["Args: a"]),
    (lambda doc: doc.replace("*rest:", "*best:"), ["Args: rest", "no such parameter: best"]),
    (lambda doc: doc.replace("*rest:", "a:"), ["Args: rest", "Args: a once only"]),
    (lambda doc: doc.replace("Raises:", "Fails:"), ["Raises:"]),
    (lambda doc: doc.replace("Source:", "From:"), ["Source:"]),
]


@pytest.mark.parametrize(("change", "want"), DEFECTS)
def test_what_is_missing_is_found(monkeypatch, change, want):
    monkeypatch.setattr(_fine, "__doc__", change(inspect.cleandoc(_fine.__doc__ or "")))
    for rooms in ("FORMULA", "SOURCE"):
        monkeypatch.setattr(f"{__name__}.{rooms}", (__name__.rpartition(".")[0],))
    monkeypatch.setattr(f"{__name__}.is_ours", lambda made: True)
    assert missing(_fine) == want


def main() -> None:
    """Print what is missing, by module."""
    by_module: dict[str, list[str]] = {}
    for name, made in SUBJECTS.items():
        for what in missing(made):
            by_module.setdefault(made.__module__, []).append(
                f"    {name.rpartition('.')[2]}: {what}"
            )
    for module, lines in by_module.items():
        print("\n".join([f"{module} ({len(lines)})", *lines]))
    whole = sum(not missing(made) for made in SUBJECTS.values())
    print(f"{whole} of {len(SUBJECTS)} docstrings are complete")


if __name__ == "__main__":
    main()
