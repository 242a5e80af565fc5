"""What measuring every layer costs a training step.

    python -m benchmarks.layer_health --model resnet34 --batch-size 32 --size 128 --repeats 5

Three trainings of one model, without the hook, with `layer_health` at every 10th step, and with
`layer_histograms` at every 10th too, take turns in one process. A turn is 10 steps, of which one is
measured, by the step that `fit` compiles; the state goes from step to step in the same memory. The
cost is the median over rounds of the ratio of two turns, less 1. The losses must agree. What is
measured depends on the number of parameters alone, so it is a larger share of smaller batches and
images: `--size 28` shows that.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import numpy as np

from benchmarks.measure import check_close, ratio, rounds, spread
from benchmarks.record import finish, on_huge_pages, row
from gradtx import models
from gradtx.hooks import layer_health, layer_histograms
from gradtx.loop import Loop, accuracy, cross_entropy, from_linen
from gradtx.loop.jitted import prepare
from gradtx.loop.phases import open_epoch, open_fit
from gradtx.optimizers.presets import fastai_adam
from gradtx.run import first_state

EVERY = 10
MOST = 0.03


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet34", help="a ResNet of gradtx.models")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a small model, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    if args.tiny:
        args.model, args.batch_size, args.size, args.repeats = "resnet_tiny", 4, 12, 1
    return args


def contestant(hooks, module, tx, batch, seed):
    """A function that trains `EVERY` steps more, and returns the last loss."""
    loop = Loop(from_linen(module), cross_entropy, tx, {"accuracy": accuracy}, hooks)

    def init(key):
        variables = dict(module.init(key, batch["image"][:1], train=False))
        return variables.pop("params"), variables

    state = first_state(loop, init, seed=seed)
    run, state = prepare(loop, state)
    state = jax.jit(lambda state: open_epoch(loop, open_fit(loop, state)))(state)
    log = {}

    def turn():
        nonlocal state, log
        for _ in range(EVERY):
            state, log = run.train_step(state, batch)
        return jax.block_until_ready(log["loss"])

    return turn


def main(argv=None):
    args = parse(argv)
    rng = np.random.default_rng(args.seed)
    shape = (args.batch_size, args.size, args.size, 1)
    batch = {
        "image": jax.device_put(rng.standard_normal(shape, np.float32)),
        "label": jax.device_put(rng.integers(0, 10, args.batch_size).astype(np.int32)),
    }
    module, tx = getattr(models, args.model)(num_classes=10), fastai_adam(1e-4, weight_decay=1e-2)
    health = partial(layer_health, tx, every=EVERY)
    hooks = {
        "without": [],
        "health": [health()],
        "health and histograms": [health(), layer_histograms(EVERY)],
    }
    runs = {k: contestant(each, module, tx, batch, args.seed) for k, each in hooks.items()}
    found = rounds(runs, args.repeats)
    losses = found.returned
    for name in ("health", "health and histograms"):
        check_close(name, losses[name], losses["without"], tolerance=0.05)
    cost = {k: ratio(found.wall, k, "without") - 1 for k in hooks if k != "without"}
    processor = {k: ratio(found.cpu, k, "without") - 1 for k in cost}
    what = f"{args.model}, batch {args.batch_size} of {args.size} px: cost of"
    target = ("", None) if args.tiny else ("<=", 100 * MOST)
    rows = [
        row(
            f"{what} {k} at every {EVERY} steps",
            *target,
            100 * x,
            unit=" %",
            note=f"processor time {100 * processor[k]:.2g} %",
        )
        for k, x in cost.items()
    ]
    result = {
        "model": args.model,
        "every": EVERY,
        "turns": {name: spread(seconds) for name, seconds in found.wall.items()},
        "first_s": found.first,
        "cost": cost,
        "processor_cost": processor,
        "rows": rows,
    }
    return finish("layer_health", argv, args.out, result)


if __name__ == "__main__":
    on_huge_pages()
    main()
