"""Time eight learning rates in one program against eight fits one after another.

    python -m benchmarks.population --repeats 3

The contestants train the same eight states on the same batches: `population` by map and by vmap,
eight compiled fits, and eight fits of the host loop. The compiled fits are run once more without
waiting for one before the next is started, which lets a CPU with several cores overlap them. Each
contestant takes its turn in every round, so that other load on the machine falls on all alike;
ratios are medians over rounds of the ratio within a round. The parameters must agree: bit for bit,
but for vmap to a tolerance.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import gradtx
from benchmarks.measure import check_close, medians, random_images, ratio, rounds
from benchmarks.record import finish, on_huge_pages, row
from gradtx import models
from gradtx.loop import Loop, compiled_fit, fit, from_linen, population, take
from gradtx.loop.losses import accuracy, cross_entropy
from gradtx.tuning.sweep import spread

RATES = np.geomspace(1e-5, 1e-2, 8)
MODELS = {
    "mlp": models.MLP(num_classes=10),
    "resnet_tiny": models.resnet_tiny(num_classes=10),
}
# Of the parameters, relative to the largest of their leaf; training magnifies rounding.
TOLERANCE = 1e-2

_compiled_fit = jax.jit(compiled_fit, static_argnums=0)
_population = jax.jit(population, static_argnums=0, static_argnames="how")


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="training steps of each fit")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=28, help="height and width in pixels")
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tiny", action="store_true", help="a few steps, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def contestants(model, args):
    """Return {name: function that trains all and returns their parameters, stacked}."""
    data, orders = jax.device_put(random_images(args))
    init = jax.jit(partial(model.init, train=False))
    variables = dict(init(jax.random.key(args.seed), data["image"][:1]))
    loop = Loop(
        apply=from_linen(model),
        loss=cross_entropy,
        tx=gradtx.sgd(0.1, momentum=0.9),
        metrics={"accuracy": accuracy},
    )
    states = spread(loop.init(variables.pop("params"), variables), learning_rate=RATES)
    singles = [jax.tree.map(lambda x, i=i: x[i], states) for i in range(len(RATES))]
    batches = [jax.device_get(take(data, row)) for row in orders[0]]
    together = lambda results: jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

    def by_population(how):
        return _population(loop, states, data, orders, how=how)[0].params

    def compiled_fits(wait=jax.block_until_ready):
        fits = [wait(_compiled_fit(loop, state, data, orders)) for state in singles]
        return together([state.params for state, _, _ in fits])

    def host_fits():
        fits = [
            fit(loop, state, lambda epoch, start: batches[start:], epochs=1) for state in singles
        ]
        return together([state.params for state, _ in fits])

    return {
        "map": partial(by_population, "map"),
        "vmap": partial(by_population, "vmap"),
        "compiled_fits": compiled_fits,
        "compiled_fits_overlapping": partial(compiled_fits, lambda result: result),
        "host_fits": host_fits,
    }


def check_params(params):
    """Return the largest difference of each contestant to map, relative to its leaf's largest."""
    allowed = lambda name: TOLERANCE if name == "vmap" else 0.0
    return {
        name: check_close(f"population: {name}", other, params["map"], tolerance=allowed(name))
        for name, other in params.items()
    }


def compare(model, args):
    """Return what was measured for one model."""
    seconds, _, first, returned = rounds(contestants(model, args), args.repeats)
    params = jax.device_get({name: found[-1] for name, found in returned.items()})
    slow = [name for name in seconds if name not in ("map", "vmap")]
    return {
        "seconds": seconds,
        "median_s": medians(seconds),
        "first_call_s": first,
        "ratios": {f"{a}/{b}": ratio(seconds, a, b) for b in ("map", "vmap") for a in slow},
        "largest_relative_difference_to_map": check_params(params),
    }


def rows_of(results):
    """The lines of the table; none of them has a target."""
    return [
        row(
            f"eight learning rates, {name}: time of eight host loops / of one program by {how}",
            "",
            None,
            result["ratios"][f"host_fits/{how}"],
        )
        for name, result in results.items()
        for how in ("map", "vmap")
    ]


def main(argv=None):
    args = parse(argv)
    if args.tiny:
        args.steps, args.batch_size, args.size = 3, 4, 12
    results = {name: compare(MODELS[name], args) for name in args.models}
    result = {
        "learning_rates": RATES.tolist(),
        "steps": args.steps,
        "batch_size": args.batch_size,
        "size": args.size,
        "repeats": args.repeats,
        "seed": args.seed,
        "optimizer": "gradtx.sgd with momentum 0.9",
        "warm_up": "one call each",
        "order": "interleaved: one call of each contestant in every round",
        "tolerance_of_vmap": TOLERANCE,
        "rows": rows_of(results),
        "results": results,
    }
    return finish("population", argv, args.out, result)


if __name__ == "__main__":
    on_huge_pages()
    main()
