"""The trainings of fastai's chapter on optimizers and callbacks, with optimizers of gradtx parts.

    python -m benchmarks.article --seeds 0 1 2 --out article
    python -m benchmarks.article --dataset imagenette --out article-imagenette
    python -m benchmarks.article --dataset arrays --data-dir cifar10.npz --out article-cifar10

ResNet-34 with fastai's head is trained from scratch six times for each seed, and a search for a
learning rate comes before the second training, as in the chapter: seven in all. `--out` gets
article.md (the table), article.json, curves.png and lr_find.png, written anew after every single
training; the same command again goes on where it was interrupted, or does nothing.

The article's own accuracies are those of its tables, in their order, on Imagenette with batches of
128 images at 128 pixels and fastai's augmentation; its last training has no table.
"""

import argparse
import contextlib
import dataclasses
import io
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax

import gradtx
import train
from benchmarks.article_report import accuracy as accuracy_of
from benchmarks.article_report import finite, resume, write
from gradtx.data import DataError
from gradtx.loop import Loop, TrainState, accuracy, cross_entropy, fit
from gradtx.optimizers.presets import fastai_adam, fastai_sgd
from gradtx.recipes import fit_one_cycle
from gradtx.run import (
    BatchSource,
    TrainOptions,
    fail,
    first_state,
    image_model,
    image_source,
    load_images,
    with_guards,
)
from gradtx.run.train_options import PHOTOS
from gradtx.transforms.stats import (
    adam_step,
    average_grad,
    average_sqr_grad,
    momentum_step,
    rms_prop_step,
    scale_by_stats,
)
from gradtx.tuning.lr_find import lr_find


class Training(NamedTuple):
    """One training of the chapter."""

    title: str
    make: Callable  # learning rate -> optimizer
    rate: float
    one_cycle: bool = True
    momentum: tuple[float, float, float] | None = (0.95, 0.85, 0.95)
    find: bool = False  # a learning rate first
    article: float | None = None  # its accuracy after 3 epochs


def baseline(rate):
    """fastai's Adam, whose decay stays off norms and biases."""
    groups = gradtx.label_by(norm_or_bias=gradtx.norm_or_bias, others="*")
    decay = gradtx.by_group(groups, norm_or_bias=0.0, others=0.01)
    return fastai_adam(rate, weight_decay=decay)


def by_hand(*statistics, step, **numbers):
    """The chapter's generic optimizer: statistics, and one step made from them."""

    def make(rate):
        stats = scale_by_stats(*statistics, step=step, **numbers)
        return gradtx.chain(stats, gradtx.scale_by_learning_rate(rate))

    return make


def sgd_step(h):
    """u = g"""
    del h
    return lambda g, p: g


TRAININGS = {
    "adam": Training("Adam, one cycle", baseline, 0.003, article=0.567),
    "sgd": Training(
        "SGD, one cycle, momentum 0", fastai_sgd, 0.03, momentum=None, find=True, article=0.4448
    ),
    "generic_sgd": Training(
        "SGD by hand, constant rate", by_hand(step=sgd_step), 0.03, one_cycle=False, article=0.4425
    ),
    "momentum": Training(
        "Momentum by hand, one cycle",
        by_hand(average_grad(0.9), step=momentum_step),
        0.03,
        article=0.4851,
    ),
    "rmsprop": Training(
        "RMSProp by hand, one cycle",
        by_hand(average_sqr_grad(0.99), step=rms_prop_step, eps=1e-7),
        0.003,
        momentum=None,  # it has none
        article=0.4968,
    ),
    "adam_by_hand": Training(
        "Adam by hand, one cycle",
        by_hand(
            average_grad(0.9, dampening=True), average_sqr_grad(0.99), step=adam_step, eps=1e-5
        ),
        0.003,
    ),
}


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = ("embedded", "imagenette", "folder", "arrays")
    parser.add_argument("--dataset", choices=data, default="embedded")
    parser.add_argument("--data-dir", type=Path, help="as train.py's")
    parser.add_argument("--archive", type=Path, help="imagenette2-160.tgz, if you have it already")
    parser.add_argument("--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, help="(default: 128 for photos, else 32)")
    parser.add_argument("--size", type=int, help="pixels a side, as train.py's")
    parser.add_argument("--tiny", action="store_true", help="a small model and a few steps")
    parser.add_argument("--out", type=Path, default=Path("article"), help="directory to write to")
    return parser.parse_args(argv)


def configure(args, seed):
    """train.py's options."""
    photos = args.dataset in PHOTOS
    small = {"model": "mlp", "limit_batches": 3} if args.tiny else {}
    return TrainOptions(
        dataset=args.dataset,
        data_dir=args.data_dir,
        archive=args.archive,
        head="concat",
        epochs=args.epochs,
        batch_size=args.batch_size or (128 if photos else 32),
        size=args.size,
        seed=seed,
        **small,
    )


class Task(NamedTuple):
    """What all trainings of one seed have in common."""

    loop: Loop  # with the baseline's optimizer
    state: TrainState
    source: BatchSource


def make_task(options):
    """The data, which it prints, and the network with its first state."""
    dataset = load_images(options)
    source = image_source(
        dataset,
        batch_size=options.batch_size,
        size=options.image_size,
        seed=options.seed,
        augmentation=options.augmentation,
        limit=options.limit_batches,
        cache=options.cache,
    )
    spec = source.spec
    model = image_model(options, spec, train.IMAGE_MODELS)
    loop = Loop(
        apply=model.apply,
        loss=cross_entropy,
        tx=baseline(TRAININGS["adam"].rate),
        metrics={"accuracy": accuracy},
        hooks=with_guards([], options),
        prepare=spec.prepare,
    )
    return Task(loop, first_state(loop, model.init, seed=options.seed), source)


def train_once(training, options, task, *, steps=100):
    """Train from scratch; return what came of it."""
    loop, source = dataclasses.replace(task.loop, tx=training.make(training.rate)), task.source
    state = loop.init(task.state.params, task.state.model_state, seed=options.seed)
    found = lr_find(loop, state, source.train, steps=steps) if training.find else None
    recipe = fit
    if training.one_cycle:
        how = {"learning_rate": training.rate, "steps_per_epoch": source.steps}
        recipe = partial(fit_one_cycle, momentum=training.momentum, **how)
    start = time.perf_counter()
    state, history = recipe(loop, state, source.train, source.valid, epochs=options.epochs)
    return {
        "seconds": time.perf_counter() - start,
        "failure": loop.failure(state),
        "rows": history.rows,
        "steps": {name: history.steps[name].tolist() for name in ("train_loss", "learning_rate")},
        "lr_find": found
        and {
            "suggestions": found.suggestions,
            "learning_rates": found.learning_rates.tolist(),
            "losses": found.losses.tolist(),
        },
    }


def run(args):
    quiet = io.StringIO()
    options = configure(args, args.seeds[0])
    task = make_task(options)  # prints which data this is
    settings = {
        "dataset": args.dataset,
        "data": {"embedded": "the embedded Fashion-MNIST subset", "imagenette": "Imagenette"}.get(
            args.dataset, str(args.data_dir)
        ),
        "fingerprint": task.source.fingerprint,
        "model": options.model,
        "head": options.head,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "size": options.image_size,
        "steps_per_epoch": task.source.steps,
    }
    path = args.out / "article.json"
    results = resume(path, settings)
    args.out.mkdir(parents=True, exist_ok=True)
    done = {(r["training"], r["seed"]) for r in results}
    for seed in args.seeds:
        with contextlib.redirect_stdout(quiet):
            options = configure(args, seed)
            task = make_task(options)
        for name in args.trainings:
            if (name, seed) in done:
                continue
            result = train_once(TRAININGS[name], options, task, steps=12 if args.tiny else 100)
            results.append(finite({"training": name, "seed": seed} | result))
            write(TRAININGS, results, settings, args.out)
            reached = f"accuracy {accuracy_of(results[-1]):.4f}, {result['seconds']:.0f} s"
            print(f"{name}, seed {seed}: {reached}", flush=True)
    print((args.out / "article.md").read_text() if results else "Nothing to do.")
    print(f"Written to {args.out}: article.md, article.json, curves.png, lr_find.png.")
    return 0


def main(argv=None):
    jax.config.update("jax_compilation_cache_dir", str(train.CACHE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    args = parse(argv)
    try:
        return run(args)
    except (DataError, ValueError) as error:
        return fail(error)


if __name__ == "__main__":
    sys.exit(main())
