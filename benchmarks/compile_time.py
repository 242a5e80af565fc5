"""Seconds to trace, lower and compile an optimizer's step, against Optax.

    python -m benchmarks.compile_time
    python -m benchmarks.compile_time --leaves 5000 --groups 6 --distinct 0     # Optax: 12 minutes

The step is clip_by_global_norm and AdamW. Leaves have the shapes of a transformer's layers over
and over, so that many have one shape; with `--distinct` each has a shape of its own, the worst
case. The groups are two, with other decay for biases and gains: `by_group` and `multi_transform`
against Optax's `multi_transform`. Every measurement has a new function and empties JAX's caches
before; there is no cache on disk. The parameters must agree after two steps.
"""

import argparse
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradtx
from benchmarks.measure import check_close, ratio
from benchmarks.record import finish, on_huge_pages, row

SHAPES = ((16, 16), (16,), (16, 32), (32,), (32, 16), (16,))
TOLERANCE = 1e-5
TARGETS = {100: None, 1000: 0.7, 5000: 1.0}


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--leaves", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--groups", type=int, default=1000, help="leaves of the test with groups")
    parser.add_argument("--distinct", type=int, default=100, help="leaves, each of its own shape")
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="few leaves, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def make_params(count, seed, *, distinct=False):
    rng = np.random.default_rng(seed)
    names = ("kernel", "bias")
    params = {}
    for i in range(count):
        shape = (i + 1, 3) if distinct else SHAPES[i % len(SHAPES)]
        leaf = jnp.asarray(rng.standard_normal(shape, np.float32))
        params.setdefault(f"layer_{i // 2}", {})[names[i % 2]] = leaf
    return params


def label(params):
    return jax.tree_util.tree_map_with_path(
        lambda path, _: "bias" if path[-1].key == "bias" else "rest", params
    )


def plain(library):
    return library.chain(library.clip_by_global_norm(1.0), library.adamw(1e-3))


def grouped(library):
    parts = {name: library.adamw(1e-3, weight_decay=w) for name, w in DECAY.items()}
    return library.chain(library.clip_by_global_norm(1.0), library.multi_transform(parts, label))


def by_group():
    decay = gradtx.by_group(label, DECAY)
    return gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adamw(1e-3, weight_decay=decay))


DECAY = {"bias": 0.0, "rest": 1e-2}
PLAIN = {"optax": lambda: plain(optax), "gradtx": lambda: plain(gradtx)}
GROUPED = {
    "optax": lambda: grouped(optax),
    "gradtx": by_group,
    "gradtx_multi_transform": lambda: grouped(gradtx),
}


def stages(make, params):
    """Return the seconds of each stage and the compiled step, for a transform made anew."""
    tx = make()
    state = tx.init(params)

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    jax.clear_caches()
    marks = [time.perf_counter()]
    mark = lambda x: (marks.append(time.perf_counter()), x)[1]
    traced = mark(jax.jit(step, donate_argnums=(0, 1)).trace(params, state, params))
    compiled = mark(mark(traced.lower()).compile())
    took = np.diff(marks).tolist()
    return dict(zip(("trace", "lower", "compile"), took, strict=True)), (compiled, state)


def two_steps(program, params, grads):
    """The parameters after two steps."""
    step, state = program
    params = jax.tree.map(jnp.copy, params)
    for _ in range(2):
        params, state = step(params, state, grads)
    return jax.device_get(params)


def contest(makers, params, args):
    """Compile by each of `makers` in every round; the parameters must agree."""
    seconds = {name: {} for name in makers}
    ends = {}
    grads = jax.tree.map(lambda p: 0.1 * jnp.cos(p), params)
    for i in range(args.repeats):
        for name in makers if i % 2 == 0 else reversed(makers):
            took, program = stages(makers[name], params)
            took["total"] = sum(took.values())
            for stage, value in took.items():
                seconds[name].setdefault(stage, []).append(value)
            if name not in ends:
                ends[name] = two_steps(program, params, grads)
    check = lambda name: check_close(
        f"compile_time: {name}", ends[name], ends["optax"], tolerance=TOLERANCE
    )
    totals = {name: found["total"] for name, found in seconds.items()}
    return {
        "seconds": seconds,
        "median_s": {
            name: {stage: statistics.median(x) for stage, x in found.items()}
            for name, found in seconds.items()
        },
        "ratios": {f"{name}/optax": ratio(totals, name, "optax") for name in makers},
        "largest_relative_difference": {name: check(name) for name in makers},
    }


def note_of(result, name="gradtx"):
    show = lambda x: ", ".join(f"{x[stage]:.2f}" for stage in ("trace", "lower", "compile"))
    medians = result["median_s"]
    return f"trace, lower, compile: {show(medians[name])} s; Optax {show(medians['optax'])}"


def main(argv=None):
    args = parse(argv)
    if args.tiny:
        args.leaves, args.groups, args.distinct = [6, 12], 6, 6
    results, rows = {}, []
    for count in args.leaves:
        result = contest(PLAIN, make_params(count, args.seed), args)
        results[f"{count} leaves"] = result
        what = f"trace and compile clip + AdamW, {count:,} leaves: gradtx's time / Optax's"
        target, reached = TARGETS.get(count), result["ratios"]["gradtx/optax"]
        rows.append(row(what, "<=" if target else "", target, reached, note=note_of(result)))
    result = contest(GROUPED, make_params(args.groups, args.seed), args)
    results[f"{args.groups} leaves in groups"] = result
    for name in ("gradtx", "gradtx_multi_transform"):
        way = "by_group" if name == "gradtx" else "multi_transform"
        what = f"the same in two groups by {way}, {args.groups:,} leaves"
        reached = result["ratios"][f"{name}/optax"]
        target = TARGETS.get(args.groups)
        note = note_of(result, name)
        rows.append(row(what, "<=" if target else "", target, reached, note=note))
    if args.distinct:
        result = contest(PLAIN, make_params(args.distinct, args.seed, distinct=True), args)
        results[f"{args.distinct} distinct leaves"] = result
        what = f"the same, {args.distinct:,} leaves of as many shapes"
        reached = result["ratios"]["gradtx/optax"]
        rows.append(row(what, "", None, reached, note=note_of(result)))
    result = {
        "repeats": args.repeats,
        "seed": args.seed,
        "tolerance": TOLERANCE,
        "rows": rows,
        "results": results,
    }
    return finish("compile_time", argv, args.out, result)


if __name__ == "__main__":
    on_huge_pages()
    main()
