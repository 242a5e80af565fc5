"""Images a second from the host side of the input, and what feeding costs a training step.

    python -m benchmarks.input --repeats 8

Photos: a folder of JPEG files of about 160 px, decoded once into the cache that train.py makes, and
read from there as canvases of uint8; they are cropped, resized, mirrored and normalized on the
device, in the step. Small images: the embedded data at 28 px. In every round some training steps on
one batch that stays, an epoch of the host side alone (its cache is in memory by then), and both
together take their turn, in an order that turns round. Both together is as `fit` has them: the step
takes its batches from the host side, whose threads share the processor with it and have a few
batches ready, as in the midst of an epoch. The bytes of a batch must not depend on the threads.
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from itertools import islice
from pathlib import Path

import jax
import numpy as np
from PIL import Image

import gradtx
from benchmarks.measure import least_ratio, medians, ratio, rounds
from benchmarks.record import finish, on_huge_pages, row
from gradtx import data, models
from gradtx.augment import Augmentation
from gradtx.loop import Loop, from_linen
from gradtx.loop.jitted import prepare
from gradtx.loop.losses import cross_entropy


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--photos", type=int, default=3200, help="JPEG files to make")
    parser.add_argument("--photo-size", type=int, default=128, help="pixels to train photos at")
    parser.add_argument("--steps", type=int, default=4, help="training steps in a round")
    parser.add_argument("--repeats", type=int, default=8, help="timed rounds")
    parser.add_argument("--only", nargs="+", choices=("photos", "embedded"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="a small model, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def write_photos(folder, count, seed):
    """Write `count` JPEG files in Imagenette's layout; returns their mean size in bytes.

    Their sides are 160 px and up to 240, their detail smooth noise of several scales, so that a
    file is about as large as Imagenette's (7.4 kB).
    """
    rng = np.random.default_rng(seed)
    total = 0
    for i in range(count):
        split = "train" if i % 10 else "val"
        path = folder / split / f"class{i // 10 % 2}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        long = int(rng.integers(160, 241))
        size = (long, 160) if i % 3 else (160, long)
        picture = np.zeros((size[1], size[0], 3), np.float32)
        for cells, weight in ((4, 0.6), (16, 0.3), (64, 0.15)):
            coarse = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
            picture += weight * np.asarray(Image.fromarray(coarse).resize(size, 3), np.float32)
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path, quality=75)
        total += path.stat().st_size
    return total / count


def make_step(model, spec, args):
    """A function from a batch to the loss of one training step; donates its state."""
    example = np.zeros((1, spec.size, spec.size, spec.channels), np.float32)
    variables = dict(jax.jit(partial(model.init, train=False))(jax.random.key(args.seed), example))
    parts = {"loss": cross_entropy, "tx": gradtx.adamw(1e-4), "prepare": spec.prepare}
    loop = Loop(apply=from_linen(model), **parts)
    run, state = prepare(loop, loop.init(variables.pop("params"), variables, seed=args.seed))
    state = run.open_epoch(run.open_fit(state))

    def step(batch):
        nonlocal state
        state, log = run.train_step(state, batch)
        return log["loss"]

    return step


def endless(batches):
    """All epochs, one after another."""
    epoch = 0
    while True:
        yield from batches(epoch=epoch)
        epoch += 1


def check_threads(batches):
    """Require that one thread gives the same bytes as four."""
    pairs = [islice(batches(epoch=0, num_threads=n), 3) for n in (1, 4)]
    for one, four in zip(*pairs, strict=True):
        for key in one:
            if not np.array_equal(one[key], four[key]):
                raise AssertionError(f"input: `{key}` must not depend on the threads.")


def contest(dataset, model, size, args):
    """Seconds a batch of the step, of the pipeline, and of both together."""
    batches = partial(data.train_batches, dataset, batch_size=args.batch_size, seed=args.seed)
    check_threads(batches)
    spec = data.ImageSpec.of(dataset, size=size, augmentation=Augmentation())
    step = make_step(model, spec, args)
    stream = endless(batches)
    fixed = next(stream)
    runs = {
        "step": lambda: [step(fixed) for _ in range(args.steps)][-1],
        "host": lambda: sum(1 for _ in batches(epoch=1)),  # what is read ahead is counted too
        "both": lambda: [step(next(stream)) for _ in range(args.steps)][-1],
    }
    times = rounds(runs, args.repeats, keep=False)
    stream.close()
    made = {
        **dict.fromkeys(runs, args.steps),
        "host": data.steps_per_epoch(dataset, args.batch_size),
    }
    each = lambda took: {name: [s / made[name] for s in values] for name, values in took.items()}
    seconds, cpu = each(times.wall), each(times.cpu)
    return {
        "batch_size": args.batch_size,
        "size": size,
        "seconds_a_batch": seconds,
        "cpu_seconds_a_batch": cpu,
        "median_s_a_batch": medians(seconds),
        "images_per_s": {
            name: args.batch_size / statistics.median(values) for name, values in seconds.items()
        },
        "ratios": {
            "both/step": ratio(seconds, "both", "step"),
            "least both/step": least_ratio(seconds, "both", "step"),
            "processor both/step": least_ratio(cpu, "both", "step"),
        },
    }


def rows_of(results):
    rows = []
    for name, result in results.items():
        rate, ratios = result["images_per_s"], result["ratios"]
        target = (">=", 20_000) if name == "photos" else ("", None)
        what = f"host side of the input, {name} at {result['size']} px, from epoch two: images/s"
        timed = (result[f"{kind}seconds_a_batch"]["host"] for kind in ("", "cpu_"))
        best, processor = (result["batch_size"] / min(seconds) for seconds in timed)
        note = f"{best:,.0f} in the least time, {processor:,.0f} a second of processor time"
        note += f"; a step takes {rate['step']:,.0f}"
        rows.append(row(what, *target, rate["host"], note=note))
        target = ("<=", 1.03) if name == "photos" else ("", None)
        what = f"training step fed by the host, {name}: time / on a batch that stays"
        note = f"of the least times {ratios['least both/step']:.3f}"
        note += f", of processor time {ratios['processor both/step']:.3f}"
        rows.append(row(what, *target, ratios["both/step"], note=note))
    return rows


def main(argv=None):
    args = parse(argv)
    if args.tiny:
        args.batch_size, args.photos, args.photo_size = 4, 60, 32
    model = (models.resnet_tiny if args.tiny else models.resnet34)(num_classes=10)
    results, photos = {}, {}
    if "photos" in (args.only or ["photos"]):
        with tempfile.TemporaryDirectory() as name:
            photos["mean_bytes_of_a_photo"] = write_photos(Path(name), args.photos, args.seed)
            start = time.perf_counter()
            dataset = data.on_canvas(data.folder(name), size=args.photo_size, cache=f"{name}/cache")
            photos["photos_decoded_per_s"] = args.photos / (time.perf_counter() - start)
            results["photos"] = contest(dataset, model, args.photo_size, args)
    if "embedded" in (args.only or ["embedded"]):
        results["embedded"] = contest(data.embedded(), model, 28, args)
    result = photos | {
        "model": "resnet_tiny" if args.tiny else "resnet34",
        "threads": 2,
        "repeats": args.repeats,
        "seed": args.seed,
        "rows": rows_of(results),
        "results": results,
    }
    return finish("input", argv, args.out, result)


if __name__ == "__main__":
    on_huge_pages()
    main()
