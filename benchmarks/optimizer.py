"""Time and memory of an optimizer's step over ResNet-34's parameters, against Optax.

    python -m benchmarks.optimizer --repeats 100

A step is jitted and donates parameters and state; the gradients stay. Both libraries start from the
same parameters and are given the same gradients, two sets in turn. For AdamW there are also three
ways to give the learning rate: a number (which is kept in the state), a schedule, a JAX scalar.
The parameters must agree after all steps. Memory is what XLA says of the compiled step.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradtx
from benchmarks.measure import check_close, least_ratio, medians, ratio, rounds
from benchmarks.record import finish, on_huge_pages, row
from gradtx import models

RATE = 1e-3
# Of the parameters, relative to the largest of their leaf: a step is RATE at most.
TOLERANCE = 1e-5


def clipped(library, rate):
    return library.chain(library.clip_by_global_norm(1.0), library.adamw(rate))


FAMILIES = {
    "sgd": lambda library, rate: library.sgd(rate),
    "momentum": lambda library, rate: library.sgd(rate, momentum=0.9),
    "rmsprop": lambda library, rate: library.rmsprop(rate),
    "adam": lambda library, rate: library.adam(rate),
    "adamw": lambda library, rate: library.adamw(rate),
    "clip_adamw": clipped,
}
TARGETS = {"clip_adamw": 0.5}  # of Optax's time; of the others 1.03


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=100, help="timed rounds")
    parser.add_argument("--steps", type=int, default=1, help="steps of each contestant in a round")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a small model, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def make_arrays(args):
    """Parameters with the shapes of ResNet-34's, and two sets of gradients."""
    model = models.resnet_tiny(num_classes=10) if args.tiny else models.resnet34(num_classes=10)
    init = partial(model.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    rng = np.random.default_rng(args.seed)
    normal = lambda scale: jax.tree.map(
        lambda x: jnp.asarray(scale * rng.standard_normal(x.shape, np.float32)), shapes
    )
    return normal(0.1), (normal(0.01), normal(0.01))


def make_step(tx):
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def contestant(tx, params, grads, steps):
    """A function that makes so many steps, and a function that returns the parameters."""
    step = make_step(tx)
    params = jax.tree.map(jnp.copy, params)
    state = tx.init(params)

    def run():
        nonlocal params, state
        for i in range(steps):
            params, state = step(params, state, grads[i % 2])
        jax.block_until_ready((params, state))

    return run, lambda: params


def contest(optimizers, args, arrays):
    """Time some optimizers against each other; the first one's parameters count."""
    params, grads = arrays
    made = {k: contestant(tx, params, grads, args.steps) for k, tx in optimizers.items()}
    times = rounds({k: run for k, (run, _) in made.items()}, args.repeats, keep=False)
    ends = {name: jax.device_get(end()) for name, (_, end) in made.items()}
    base = next(iter(ends))
    differences = {
        name: check_close(f"optimizer: {name}", end, ends[base], tolerance=TOLERANCE)
        for name, end in ends.items()
    }
    each = lambda seconds: {k: [s / args.steps for s in v] for k, v in seconds.items()}
    return {
        "seconds": each(times.wall),
        "cpu_seconds": each(times.cpu),
        "median_s": medians(each(times.wall)),
        "first_call_s": times.first,
        "ratios": {f"{k}/{base}": ratio(times.wall, k, base) for k in optimizers if k != base},
        "cpu_ratios": {f"{k}/{base}": ratio(times.cpu, k, base) for k in optimizers if k != base},
        "largest_relative_difference": differences,
    }


def ways(library=gradtx):
    """AdamW with its learning rate given in three ways."""
    return {
        "number": library.adamw(RATE),
        "schedule": library.adamw(lambda count: jnp.where(count >= 0, RATE, 0.0)),
        "array": library.adamw(jnp.float32(RATE)),
    }


def memory(tx, params):
    """Bytes of the compiled, donated step and of the state."""
    state = jax.eval_shape(tx.init, params)
    found = make_step(tx).lower(params, state, params).compile().memory_analysis()
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
    sizes = {
        name: getattr(found, f"{name}_size_in_bytes")
        for name in ("argument", "output", "alias", "temp")
    }
    return sizes | {"state": size(state), "params": size(params)}


def memories(params):
    """The memory of each optimizer by each library, and of AdamW with moments in bfloat16."""
    half = {"mu_dtype": jnp.bfloat16}
    made = {f"{k} {n}": make(lib, RATE) for k, make in FAMILIES.items() for n, lib in LIBRARIES}
    made |= {f"adamw_bf16_mu {name}": library.adamw(RATE, **half) for name, library in LIBRARIES}
    made["adamw_bf16 gradtx"] = gradtx.adamw(RATE, **half, nu_dtype=jnp.bfloat16)
    return {name: memory(tx, params) for name, tx in made.items()}


LIBRARIES = (("optax", optax), ("gradtx", gradtx))


def rows_of(families, rates, found):
    """The lines of the table."""
    rows = []
    for name, result in families.items():
        note = f"{1e3 * result['median_s']['gradtx']:.3g} ms a step; processor time"
        note += f" {result['cpu_ratios']['gradtx/optax']:.2f}; least"
        note += f" {least_ratio(result['seconds'], 'gradtx', 'optax'):.2f}"
        what = f"optimizer step, {name}: gradtx's time / Optax's"
        target = TARGETS.get(name, 1.03)
        rows.append(row(what, "<=", target, result["ratios"]["gradtx/optax"], note=note))
    for name, reached in rates["ratios"].items():
        what = f"AdamW's learning rate as {name.replace('/', ' / as ')}: time"
        note = f"processor time {rates['cpu_ratios'][name]:.2f}; least"
        note += f" {least_ratio(rates['seconds'], *name.split('/')):.2f}"
        rows.append(row(what, "<=", 1.03, reached, note=note))
    peak = lambda x: x["argument"] + x["output"] - x["alias"] + x["temp"]
    for name in FAMILIES:
        what = f"memory of a donated step, {name}: gradtx's bytes / Optax's"
        ours, theirs = found[f"{name} gradtx"], found[f"{name} optax"]
        rows.append(row(what, "<=", 1.01, peak(ours) / peak(theirs)))
    for name, count in (("adamw_bf16_mu gradtx", 1), ("adamw_bf16 gradtx", 2)):
        saved = found["adamw gradtx"]["state"] - found[name]["state"]
        what = f"{count} of AdamW's moments in bfloat16: bytes of the state saved / 2 a parameter"
        rows.append(row(what, ">=", 1.0, saved / (count * found[name]["params"] / 2)))
    return rows


def main(argv=None):
    args = parse(argv)
    arrays = make_arrays(args)
    families = {}
    for name in args.families:
        optimizers = {key: FAMILIES[name](library, RATE) for key, library in LIBRARIES}
        families[name] = contest(optimizers, args, arrays)
    rates = contest(ways(), args, arrays)
    found = memories(arrays[0])
    leaves = jax.tree.leaves(arrays[0])
    result = {
        "model": "resnet_tiny" if args.tiny else "resnet34",
        "leaves": len(leaves),
        "parameters": sum(x.size for x in leaves),
        "repeats": args.repeats,
        "steps": args.steps,
        "seed": args.seed,
        "tolerance": TOLERANCE,
        "rows": rows_of(families, rates, found),
        "families": families,
        "learning_rates": rates,
        "memory_bytes": found,
    }
    return finish("optimizer", argv, args.out, result)


if __name__ == "__main__":
    on_huge_pages()
    main()
