"""Counterexamples as scripts that need JAX, NumPy and the package alone."""

import textwrap
from collections.abc import Mapping
from typing import Any

import jax

from gradtx.testing.law import LAWS
from tools.law_table.field import BY_NAME, Entry

LAYER = """
@partial(jax.tree_util.register_dataclass, data_fields=["kernel", "bias"], meta_fields=[])
@dataclass
class Layer:
    kernel: Any
    bias: Any
"""
SPEC = '''
def spec(tree):
    """The shape and dtype of every leaf, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in leaves}
'''
FINITE = """
def check_finite(tree, name):
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        fine = np.isfinite(np.asarray(x, np.float64)).all()
        assert fine, f"{name}{jax.tree_util.keystr(path)} is {x}"
"""
SAME_TYPES = """
state = tx.init(params)
_, after = jax.eval_shape(tx.update, grads[0], state, params)
assert spec(after) == spec(state), f"after an update {spec(after)}, from init {spec(state)}"
"""
STAYS_FINITE = """
for start in (params, jax.tree.map(jnp.zeros_like, params)):
    fresh = state = tx.init(start)
    update = jax.jit(tx.update)
    for g in grads:
        updates, state = update(g, state, start)
        check_finite(updates, "the update ")
    # What starts at infinity may stay there.
    paths = jax.tree_util.tree_leaves_with_path
    fine = {path: np.isfinite(np.asarray(x, np.float64)).all() for path, x in paths(fresh)}
    check_finite({str(path): x for path, x in paths(state) if fine.get(path, True)}, "the state ")
"""
# For each law that something breaks, what breaks it.
BODIES = {
    "updates_match_gradients": SPEC
    + """
updates, _ = jax.eval_shape(tx.update, grads[0], tx.init(params), params)
assert spec(updates) == spec(grads[0]), f"updates {spec(updates)}, gradients {spec(grads[0])}"
""",
    "state_is_fixed_point": SPEC + SAME_TYPES,
    "state_is_fixed_point_mixed": SPEC + SAME_TYPES,
    "finite": FINITE + STAYS_FINITE,
    "finite_low_precision": FINITE + STAYS_FINITE,
    "donate_safe": """
def step(params, state, g):
    updates, state = tx.update(g, state, params)
    return jax.tree.map(lambda p, u: (p + u).astype(p.dtype), params, updates), state


jax.jit(step, donate_argnums=(0, 1))(params, tx.init(params), grads[0])
""",
    "counter_saturates": """
most = jnp.iinfo(jnp.int32).max
is_count = lambda x: x.shape == () and x.dtype == jnp.int32
state = jax.tree.map(lambda x: jnp.full_like(x, most) if is_count(x) else x, tx.init(params))
_, after = jax.jit(tx.update)(grads[0], state, params)
for before, x in zip(jax.tree.leaves(state), jax.tree.leaves(after)):
    assert not is_count(x) or x >= 0, f"a count goes from {before} to {x}"
""",
    "zero_size_leaves": FINITE
    + """
empty = lambda tree: {"full": tree, "none": jnp.zeros((0, 3)), "nil": jnp.zeros(0)}
updates, _ = tx.update(empty(grads[0]), tx.init(empty(params)), empty(params))
check_finite(updates, "the update ")
assert updates["none"].shape == (0, 3) and updates["nil"].shape == (0,)
""",
    "empty_tree": """
updates, _ = tx.update({}, tx.init({}), {})
assert updates == {}, updates
""",
    "none_leaves": """
inside = lambda tree: {"a": tree, "b": None}
updates, _ = tx.update(inside(grads[0]), tx.init(inside(params)), inside(params))
assert updates["b"] is None, updates
""",
    "scan_equals_loop": """
stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *grads)
jax.lax.scan(lambda state, g: tx.update(g, state, params)[::-1], tx.init(params), stacked)
""",
    "traced_once": """
traces = []


@jax.jit
def update(g, state):
    traces.append(None)
    return tx.update(g, state, params)


state = tx.init(params)
for g in grads:
    _, state = update(g, state)
assert len(traces) == 1, f"{len(traces)} traces in {len(grads)} updates"
""",
    "extra_args_ignored": """
aware = optax.with_extra_args_support(tx)
aware.update(grads[0], aware.init(params), params, unknown_to_everyone=1.0)
""",
    "zero_is_fixed_point": """
zeros = jax.tree.map(jnp.zeros_like, params)
updates, _ = tx.update(zeros, tx.init(params), params)
assert all(not np.any(np.asarray(u)) for u in jax.tree.leaves(updates)), updates
""",
    "sharding_is_kept": """
devices = np.array(jax.devices()[:2])
split = jax.NamedSharding(jax.sharding.Mesh(devices, ("data",)), jax.P("data"))
params, g = jax.device_put((params, grads[0]), split)
state = tx.init(params)
updates, after = jax.jit(tx.update)(g, state, params)
shapes = {p.shape for p in jax.tree.leaves(params)}
for path, x in jax.tree_util.tree_leaves_with_path((updates, state, after)):
    if isinstance(x, jax.Array) and x.shape in shapes:
        assert x.sharding.is_equivalent_to(split, x.ndim), f"{path} is on {x.sharding}"
""",
}


def script(entry: Entry, law: str, found: Mapping[str, Any]) -> str:
    """The script of one failing cell; it ends with an error as long as the law is broken.

    Raises:
        KeyError: if `BODIES` has nothing for the law.
    """
    given = found["arguments"]
    about = [
        f'"""{entry.package} {entry.version}: {entry.name} breaks `{law}`.',
        "",
        f"What should hold: {LAWS[law].check.__doc__.splitlines()[0]}",
        "",
        *(f"    {line}" for line in LAWS[law].formula.splitlines()),
        "",
        *textwrap.wrap(f"What was seen: {' '.join(found['details'].split())}", 98),
        "",
        f"With JAX {jax.__version__}. It ends with an error as long as this is so.",
        '"""',
    ]
    body = BODIES[law]
    extra = "".join(f", {k}=jnp.float32({float(v)})" for k, v in entry.extra.items())
    main = [f"tx = {entry.call()}"]
    if extra:
        made = "optax.GradientTransformationExtraArgs"
        main.append(f"tx = {made}(tx.init, partial(tx.update{extra}))")
    main += [f"params = {given['params']}", "grads = [  # one for each update"]
    main += [f"    {g}," for g in given["grads"]] + ["]"]
    text = "\n".join(main)
    defined = (BY_NAME if "by_name" in text else "") + (LAYER if "Layer(" in text else "")
    everything = defined + text + body
    imports = ["import os"] if law == "sharding_is_kept" else []
    if "@dataclass" in everything:
        imports.append("from dataclasses import dataclass")
    if "partial(" in everything:
        imports.append("from functools import partial")
    if "Any" in defined:
        imports.append("from typing import Any")
    devices = 'os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"'
    modules = ["import jax", "import jax.numpy as jnp"]
    modules += ["import numpy as np"] if "np." in everything.replace("jnp.", "") else []
    modules += [f"import {module}" for module in entry.imports if f"{module}." in everything]
    lines = [*about, *imports, *([devices] if "import os" in imports else []), "", *modules]
    return "\n".join(lines) + "\n" + defined + "\n" + text + "\n" + body


def runs(text: str) -> str:
    """What running a script ends with: "" or the name of the error."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        try:
            exec(compile(text, "counterexample", "exec"), {"__name__": "counterexample"})
        except Exception as error:
            return type(error).__name__
    return ""
