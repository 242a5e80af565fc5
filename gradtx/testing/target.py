"""What `module:name` or `path/to/file.py:name` on a command line stands for."""

import difflib
import importlib
import sys
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple


class Target(NamedTuple):
    """A value with the code that brings it into a script.

    Args:
        value: what was found.
        lines: code that imports it.
        name: code that evaluates to it after these lines.
    """

    value: Any
    lines: tuple[str, ...]
    name: str


def find(where: str, text: str) -> Target:
    """Import what a command line names.

    Args:
        where: the program to name in messages.
        text: `module:name` or `path/to/file.py:name`; the name may have dots.

    Raises:
        ValueError: if it is neither, does not import, or has no such name.
    """
    home, _, name = text.rpartition(":")
    if not home or not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(
            f"{where}: what is checked must be module:name or path/to/file.py:name; got {text!r}."
            " Name for example optax:adam."
        )
    module, folder = _from_file(where, home) if home.endswith(".py") else _by_name(where, home)
    try:
        value = reduce(getattr, name.split("."), module)
    except AttributeError:
        near = difflib.get_close_matches(name, dir(module), n=1)
        meant = f"Did you mean `{near[0]}`?" if near else "Name one that it has."
        raise ValueError(
            f"{where}: {home} must have the name `{name}`; got none. {meant}"
        ) from None
    first, called = name.split(".")[0], module.__name__
    lines = [] if folder is None else ["import sys", f"sys.path.insert(0, {str(folder)!r})"]
    if all(part.isidentifier() for part in called.split(".")):
        return Target(value, (*lines, f"from {called} import {first}"), name)
    lines.append("from importlib import import_module")
    return Target(value, tuple(lines), f"import_module({called!r}).{name}")


def _from_file(where: str, home: str) -> tuple[ModuleType, Path]:
    path = Path(home).resolve()
    if not path.is_file():
        raise ValueError(f"{where}: {home} must be a file; got none. Name one that is there.")
    module = _imported(where, path.stem, path.parent)
    if Path(module.__file__ or "").resolve() != path:
        raise ValueError(
            f"{where}: {home} must be imported as `{path.stem}`; got the module of that name in"
            f" {module.__file__}. Rename the file."
        )
    return module, path.parent


def _by_name(where: str, home: str) -> tuple[ModuleType, Path | None]:
    here = Path.cwd()
    module = _imported(where, home, here)
    file = Path(module.__file__ or here.parent).resolve()
    # A script that stands elsewhere finds what is installed, and not what is here.
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return module, here if file.is_relative_to(here) and not installed else None


def _imported(where: str, name: str, folder: Path) -> ModuleType:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{where}: `{name}` must import; got {type(error).__name__}: {error}. Put that right,"
            " or name another module."
        ) from error
