"""Time of the host loop, of a compiled epoch, and of the bare jitted step, for a small MLP.

    python -m benchmarks.loop --steps 500 --repeats 9

All train the same state on the same batches, with the same hooks, and must end with the same
parameters, bit for bit. `fit` is the host loop; `bare` is the jitted step of the same program in
the shortest Python loop there is, so that their difference is what `fit` adds to each step; the
compiled epoch is `compiled_fit` with the data on the device. The host loop is given its batches as
NumPy arrays, as the input pipeline makes them, or on the device already.
"""

import argparse
import statistics
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

import gradtx
from benchmarks.measure import check_close, least_ratio, medians, random_images, ratio, rounds
from benchmarks.record import finish, on_huge_pages, row
from gradtx import hooks, models
from gradtx.loop import Loop, compiled_fit, fit, from_linen, take
from gradtx.loop.jitted import prepare
from gradtx.loop.losses import accuracy, cross_entropy
from gradtx.schedules import cosine_decay_schedule

OVERHEAD = 0.3e-3  # seconds a step
_compiled_fit = jax.jit(compiled_fit, static_argnums=0)


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500, help="training steps of an epoch")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--size", type=int, default=8, help="height and width in pixels")
    parser.add_argument("--width", type=int, default=32, help="of the two hidden layers")
    parser.add_argument("--repeats", type=int, default=9, help="timed rounds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a few steps, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def ten_hooks(args):
    """Ten hooks that leave the training as it is, or change it alike for all."""
    cosine = cosine_decay_schedule(0.1, args.steps)
    return [
        hooks.schedule_hyperparams(learning_rate=cosine),
        hooks.clip_gradients(1.0),
        hooks.skip_nonfinite(),
        hooks.terminate_on_nan(),
        hooks.ema_params(0.99),
        hooks.save_best("train_loss"),
        hooks.early_stopping("train_loss", patience=100),
        hooks.reduce_on_plateau("train_loss", patience=100),
        hooks.accumulate_gradients(1),
        hooks.loss_scaling(),
    ]


def bare(loop, state, batches):
    """The jitted step alone, with the start and the end of the fit that it needs."""
    run, state = prepare(loop, state)
    state = run.open_fit(jax.tree.map(jnp.copy, state))
    state = run.open_epoch(state)
    for batch in batches:
        state, _ = run.train_step(state, batch)
    state = run.close_train(state, validate=False)
    return run.close_fit(run.close_epoch(state))


def contestants(args, chosen):
    """Return {name: function that trains an epoch and returns the parameters}."""
    arrays, order = random_images(args)
    model = models.MLP(num_classes=10, features=(args.width, args.width))
    init = jax.jit(partial(model.init, train=False))
    variables = dict(init(jax.random.key(args.seed), arrays["image"][:1]))
    loop = Loop(
        apply=from_linen(model),
        loss=cross_entropy,
        tx=gradtx.sgd(0.1, momentum=0.9),
        metrics={"accuracy": accuracy},
        hooks=chosen,
    )
    state = loop.init(variables.pop("params"), variables)
    on_host = [take(arrays, rows) for rows in order[0]]
    on_device = jax.device_put(on_host)
    whole = jax.device_put((arrays, order))
    return {
        "bare": lambda: bare(loop, state, on_host).params,
        "fit": lambda: fit(loop, state, on_host, epochs=1)[0].params,
        "fit_on_device": lambda: fit(loop, state, on_device, epochs=1)[0].params,
        "compiled": lambda: _compiled_fit(loop, state, *whole)[0].params,
    }


def contest(args, chosen):
    times = rounds(contestants(args, chosen), args.repeats)
    ends = {name: jax.device_get(found[-1]) for name, found in times.returned.items()}
    for name, end in ends.items():
        check_close(f"loop: {name}", end, ends["fit"], tolerance=0.0)
    each = lambda seconds: {k: [s / args.steps for s in v] for k, v in seconds.items()}
    pairs = zip(times.wall["fit"], times.wall["bare"], strict=True)
    return {
        "seconds_a_step": each(times.wall),
        "cpu_seconds_a_step": each(times.cpu),
        "median_s_a_step": medians(each(times.wall)),
        "first_call_s": times.first,
        "ratios": {f"{k}/compiled": ratio(times.wall, k, "compiled") for k in times.wall},
        "overhead_s_a_step": statistics.median((a - b) / args.steps for a, b in pairs),
        "largest_relative_difference": 0.0,
    }


def rows_of(results):
    rows = []
    for name, result in results.items():
        each = {k: f"{1e6 * v:.0f}" for k, v in result["median_s_a_step"].items()}
        seconds = result["seconds_a_step"]
        note = f"least {least_ratio(seconds, 'fit', 'compiled'):.3g}; us a step: "
        note += ", ".join(f"{k} {each[k]}" for k in ("fit", "bare", "compiled"))
        what = f"small MLP, {name}: host loop's time / compiled epoch's"
        rows.append(row(what, ">=", 5.0, result["ratios"]["fit/compiled"], note=note))
        what = f"small MLP, {name}: what the host loop adds to a bare jitted step"
        reached = 1e3 * result["overhead_s_a_step"]
        note = f"least {1e3 * (min(seconds['fit']) - min(seconds['bare'])):.3g} ms"
        rows.append(row(what, "<=", 1e3 * OVERHEAD, reached, unit=" ms", note=note))
    return rows


def main(argv=None):
    args = parse(argv)
    if args.tiny:
        args.steps = min(args.steps, 8)
    results = {
        "no hooks": contest(args, []),
        "10 hooks": contest(args, ten_hooks(args)),
    }
    result = {
        "model": f"MLP, two hidden layers of {args.width}",
        "steps": args.steps,
        "batch_size": args.batch_size,
        "size": args.size,
        "repeats": args.repeats,
        "seed": args.seed,
        "rows": rows_of(results),
        "results": results,
    }
    return finish("loop", argv, args.out, result)


if __name__ == "__main__":
    on_huge_pages()
    main()
