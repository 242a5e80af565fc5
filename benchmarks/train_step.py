"""Time one training step of ResNet-34: plain Flax, this repository, PyTorch.

    python -m benchmarks.train_step --batch-size 32 --size 128 --repeats 5

Every contestant starts from the same parameters, trains on the same batch with AdamW, and takes
its turn in every round, so that other load on the machine falls on all of them alike. A turn is
four calls, and its time the median of the last three: before the first, memory that the others have
given back is new to the process, as it is not in a training. Ratios are medians over rounds of the
ratio within a round. The losses after the timed steps must agree.
PyTorch takes part if it can be imported.
"""

import argparse
import importlib.util
import os
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from benchmarks import plain_flax_resnet
from benchmarks.measure import ratio, spread
from benchmarks.record import finish, on_huge_pages, row
from gradtx import models

LEARNING_RATE = 1e-4
WEIGHT_DECAY = 1e-2
SCAN_STEPS = 4
TIMED_CALLS = 3  # of a turn, after a first one
# Relative; AdamW's first steps magnify rounding, since they are about the gradient's sign.
LOSS_TOLERANCE = 1e-2


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels")
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="contestants to run (default: all)")
    parser.add_argument("--tiny", action="store_true", help="a small model, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def make_jax_step(model, *, variables, images, labels, steps=1):
    """Return a function that trains `steps` steps (in one scan) and returns the last loss."""
    tx = optax.adamw(LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def loss_fn(params, batch_stats, images, labels):
        variables = {"params": params, "batch_stats": batch_stats}
        logits, new = model.apply(variables, images, train=True, mutable=["batch_stats"])
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, new["batch_stats"]

    def one(state, batch):
        params, batch_stats, opt_state = state
        grad = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, batch_stats), grads = grad(params, batch_stats, *batch)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), batch_stats, opt_state), loss

    def several(state, batch):
        state, losses = jax.lax.scan(lambda state, _: one(state, batch), state, length=steps)
        return state, losses[-1]

    step = jax.jit(one if steps == 1 else several, donate_argnums=0)
    params, batch_stats = jax.tree.map(jnp.copy, (variables["params"], variables["batch_stats"]))
    state = (params, batch_stats, tx.init(params))
    batch = jax.device_put((images, labels))  # an argument: as constants they would be folded

    def run():
        nonlocal state
        state, loss = step(state, batch)
        return float(loss)

    return run


def contestants(args):
    """Return {name: (function that trains some steps, that number of steps)}."""
    sizes = {"stage_sizes": (3, 4, 6, 3), "num_classes": 10}
    if args.tiny:
        sizes = {"stage_sizes": (1, 1), "num_classes": 10, "width": 8}
    rng = np.random.default_rng(args.seed)
    images = rng.standard_normal((args.batch_size, args.size, args.size, args.channels), np.float32)
    labels = rng.integers(0, 10, args.batch_size, dtype=np.int32)
    model = models.ResNet(**sizes)
    variables = jax.jit(partial(model.init, train=False))(jax.random.key(args.seed), images[:1])

    make = partial(make_jax_step, variables=variables, images=images, labels=labels)
    makers = {
        "flax": lambda: (make(plain_flax_resnet.ResNet(**sizes)), 1),
        "ours": lambda: (make(model), 1),
        "ours_native": lambda: (make(models.ResNet(**sizes, conv_form="native")), 1),
        "ours_scan": lambda: (make(model, steps=SCAN_STEPS), SCAN_STEPS),
        "torch": lambda: (make_torch_step(variables, images, labels, sizes), 1),
    }
    if importlib.util.find_spec("torch") is None:
        del makers["torch"]
    chosen = args.only or makers
    return {name: makers[name]() for name in chosen}


def make_torch_step(variables, images, labels, sizes):
    from benchmarks import plain_torch_resnet

    return plain_torch_resnet.make_step(
        params=flatten_dict(variables["params"], sep="/"),
        images=images,
        labels=labels,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        threads=os.cpu_count(),
        **sizes,
    )


def measure(runs, repeats):
    """Time `repeats` rounds; return seconds per step and losses by step for each contestant."""
    seconds, losses, first = {}, {}, {}
    for name, (run, steps) in runs.items():  # warm-up: compiles, and trains `steps` steps
        start = time.perf_counter()
        losses[name] = {steps: run()}
        first[name] = time.perf_counter() - start
        seconds[name] = []
    for _ in range(repeats):
        for name, (run, steps) in runs.items():
            turn = []
            for _ in range(1 + TIMED_CALLS):
                start = time.perf_counter()
                loss = run()
                turn.append((time.perf_counter() - start) / steps)
                losses[name][max(losses[name]) + steps] = loss
            seconds[name].append(float(np.median(turn[1:])))
    return seconds, losses, first


def check_losses(losses):
    """Return the largest relative difference between losses after equally many steps."""
    differences = [0.0]
    reference = losses.get("ours", next(iter(losses.values())))
    for name, curve in losses.items():
        for step in curve.keys() & reference.keys():
            difference = abs(curve[step] - reference[step]) / abs(reference[step])
            differences.append(difference)
            if not difference <= LOSS_TOLERANCE:
                raise AssertionError(
                    f"train_step: losses must agree within {LOSS_TOLERANCE:g}; at step {step}"
                    f" {name} has {curve[step]:.6g} against {reference[step]:.6g}."
                )
    return max(differences)


def rows_of(seconds, args):
    """The lines of the table."""
    targets = [
        ("plain Flax and Optax / ours", ("flax", "ours"), ">=", 1.7),
        ("PyTorch, eager, channels_last / ours", ("torch", "ours"), ">=", 1.0),
        ("ours with native convolutions / ours", ("ours_native", "ours"), "", None),
        ("ours in lax.scan / ours", ("ours_scan", "ours"), "<=", 1.05),
    ]
    name = "tiny ResNet" if args.tiny else "ResNet-34"
    about = f"training step of {name}, {args.batch_size} images of {args.size} px: time of "
    found = []
    for what, pair, relation, target in targets:
        if set(pair) <= seconds.keys():
            note = ", ".join(f"{k} {spread(seconds[k])['median_s']:.3g} s" for k in pair)
            reached = ratio(seconds, *pair)
            found.append(row(about + what, relation, target, reached, note=note))
    return found


def main(argv=None):
    args = parse(argv)
    if args.tiny:
        args.batch_size, args.size = min(args.batch_size, 8), min(args.size, 32)
    seconds, losses, first = measure(contestants(args), args.repeats)
    difference = check_losses(losses)
    wanted = [("flax", "ours"), ("torch", "ours"), ("ours_scan", "ours"), ("ours_native", "ours")]
    summary = lambda values: (
        spread(values) | {"images_per_s": args.batch_size / spread(values)["median_s"]}
    )
    result = {
        "model": "tiny" if args.tiny else "resnet34",
        "batch_size": args.batch_size,
        "size": args.size,
        "channels": args.channels,
        "seed": args.seed,
        "optimizer": "optax.adamw for JAX, torch.optim.AdamW(fused=True) for PyTorch",
        "warm_up": "one call each",
        "order": f"interleaved: in every round {1 + TIMED_CALLS} calls of each,"
        f" the median of the last {TIMED_CALLS}",
        "rows": rows_of(seconds, args),
        "results": {k: summary(v) | {"first_call_s": first[k]} for k, v in seconds.items()},
        "ratios": {f"{a}/{b}": ratio(seconds, a, b) for a, b in wanted if {a, b} <= seconds.keys()},
        "losses": losses,
        "largest_relative_loss_difference": difference,
        "loss_tolerance": LOSS_TOLERANCE,
    }
    return finish("train_step", argv, args.out, result)


if __name__ == "__main__":
    on_huge_pages()
    main()
