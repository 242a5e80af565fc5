"""Values as Python code, so that a counterexample can be pasted and run."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np


def expression(value: Any) -> str:
    """Code that evaluates to `value`, with `jnp` and `np` at hand."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _array(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {expression(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        inside = ", ".join(expression(v) for v in value)
        return f"{type(value).__name__}({inside})"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(expression, value))
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, float):
        return repr(value) if np.isfinite(value) else f'float("{value}")'
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        inside = ", ".join(f"{n}={expression(getattr(value, n))}" for n in names)
        return f"{type(value).__name__}({inside})"
    if isinstance(value, partial):
        given = [expression(value.func), *map(expression, value.args)]
        given += [f"{k}={expression(v)}" for k, v in value.keywords.items()]
        return f"partial({', '.join(given)})"
    if callable(value):
        return getattr(value, "__qualname__", repr(value))
    return repr(value)


def _array(value: Any) -> str:
    dtype = f"jnp.{value.dtype.name}"
    if value.size == 0:
        return f"jnp.zeros({value.shape}, {dtype})"
    # The shortest digits that give the same float32 are exact for the dtypes below it too.
    numbers = np.asarray(value).astype(np.float32)
    return f"jnp.array({_digits(numbers)}, {dtype})"


def _digits(numbers: np.ndarray) -> str:
    if numbers.ndim:
        return "[" + ", ".join(map(_digits, numbers)) + "]"
    if not np.isfinite(numbers):
        return {"nan": "jnp.nan", "inf": "jnp.inf", "-inf": "-jnp.inf"}[str(numbers)]
    return str(numbers)


def importable(value: Callable) -> tuple[str, str] | None:
    """(import line, name) of a function that can be imported by its name, else None."""
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    if not module or not name.isidentifier() or module == "__main__":
        return None
    public = module.split(".")
    for end in range(1, len(public) + 1):
        home = ".".join(public[:end])
        if all(not part.startswith("_") for part in public[:end]) and _holds(home, name, value):
            return f"from {home} import {name}", name
    return None


def _holds(module: str, name: str, value: Any) -> bool:
    return getattr(sys.modules.get(module), name, None) is value


def subject_lines(subject: Any, *, as_factory: bool) -> list[str]:
    """Code that makes the transformation, or a comment where it can't be known."""
    if subject.factory is None:
        target = subject.code.get("subject")
        lines = ["tx = ...  # the transformation that you passed"]
        if target:
            lines = [*target.lines, f"tx = {target.name}"]
        return [*lines, *_extra_lines(subject, as_factory=False)]
    whole, imports, note = _factory_code(subject)
    hyperparams = ", ".join(f"{k}={expression(v)}" for k, v in subject.claims.hyperparams.items())
    made = [] if as_factory else [f"tx = factory({hyperparams})"]
    extra = _extra_lines(subject, as_factory=as_factory)
    return [*imports, f"factory = {whole}{note}", *made, *extra]


def _factory_code(subject: Any) -> tuple[str, list[str], str]:
    """The code of a factory, the lines that it needs before, and a comment where it isn't known."""
    factory = subject.factory
    inner = factory.func if isinstance(factory, partial) else factory
    target, found = subject.code.get("subject"), importable(inner)
    if target:
        imports, name = list(target.lines), target.name
    else:
        imports, name = ([found[0]], found[1]) if found else ([], "...")
    note = "" if target or found else "  # the factory that you passed"
    if not isinstance(factory, partial):
        return name, imports, note
    given = [name, *map(expression, factory.args)]
    before: list[str] = []
    for k, v in factory.keywords.items():
        named = subject.code.get(f"--arg {k}")
        if named:
            before += [*named.lines, *_bound(k, named.name)]
        given.append(f"{k}={k if named else expression(v)}")
    imports = [*before, *imports, "from functools import partial"]
    return f"partial({', '.join(given)})", imports, note


def _bound(name: str, code: str) -> list[str]:
    return [] if name == code else [f"{name} = {code}"]


def _extra_lines(subject: Any, *, as_factory: bool) -> list[str]:
    """Code that gives every update the extra arguments that the check gave it."""
    if not subject.extra_args:
        return []
    given = "".join(f", {k}={expression(v)}" for k, v in subject.extra_args.items())
    made = f"optax.GradientTransformationExtraArgs(tx.init, partial(tx.update{given}))"
    imports = ["import optax", "from functools import partial"]
    if not as_factory:
        return [*imports, f"tx = {made}"]
    lines = ["inner = factory", "def factory(**values):", "    tx = inner(**values)"]
    return [*imports, *lines, f"    return {made}"]


def _rules_lines() -> list[str]:
    """Code that sets JAX's rules for mixed dtypes and ranks where they are not the usual ones."""
    lines = []
    for name, usual in (("dtype_promotion", "standard"), ("rank_promotion", "allow")):
        value = getattr(jax.config, f"jax_numpy_{name}")
        value = getattr(value, "value", value)  # an enum in some versions
        if value != usual:
            lines.append(f'jax.config.update("jax_numpy_{name}", {value!r})')
    return ["import jax", *lines] if lines else []


OPAQUE = {"mask", "rule", "reference"}


def counterexample(law: Any, subject: Any, arguments: Mapping[str, Any]) -> str:
    """A script that breaks the law, from the arguments that Hypothesis found.

    What has no code (a function that can't be imported) stands there as `...` with a comment.
    """
    given = {k: v for k, v in arguments.items() if k != "rebuilt"}
    params, grads = given.pop("params"), given.pop("grads")
    body = [f"params = {expression(params)}", "grads = [  # one for each update"]
    body += [f"    {expression(g)}," for g in grads] + ["]"]
    claimed = subject.code.get(law.name)
    for k in given:
        if k in OPAQUE and claimed:
            body += [*claimed.lines, *_bound(k, claimed.name)]
        elif k in OPAQUE:
            body.append(f"{k} = ...  # the one that you claimed")
    first = "factory" if law.of_factory else "tx"
    keywords = "".join(f", {k}={k if k in OPAQUE else expression(v)}" for k, v in given.items())
    body.append(f"laws.{law.name}({first}, params, grads{keywords})")
    lines = [*_rules_lines(), "import jax.numpy as jnp", "from gradtx.testing import laws"]
    if "Layer(" in "\n".join(body):
        lines.append("from gradtx.testing.strategies import Layer")
    return "\n".join([*lines, *subject_lines(subject, as_factory=law.of_factory), *body])
