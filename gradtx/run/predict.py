"""The command that prints what a trained model says of image files."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from gradtx.checkpoint import Restored, restore
from gradtx.config import Parser
from gradtx.data.image_spec import ImageSpec, read_rows
from gradtx.files import as_path, printable
from gradtx.kinds import checked
from gradtx.output import lossy_output
from gradtx.parallel.processes import say
from gradtx.run.compiled import keep_compiled
from gradtx.run.directory import read_config, search_in
from gradtx.run.errors import FAILED, fail, out_of_memory
from gradtx.run.interrupt import INTERRUPTED, LAST_WORD
from gradtx.run.model import Model, image_model
from gradtx.run.probabilities import predict_images, top, with_copies
from gradtx.run.train_options import TrainOptions


@lossy_output()
def predict(
    cls: type[TrainOptions], models: Mapping[str, Callable[..., Any]], argv: Sequence[str]
) -> int:
    """Print the most probable classes of image files, by a run's newest checkpoint.

    Returns the exit status, as `launch` does: for what is wrong with its arguments it is 2, with a
    line that says it.

    Args:
        cls: the dataclass of the run's options.
        models: what makes a model, by the names of `--model`: see `image_model`.
        argv: the words of the command line: RUN IMAGE... [--top K] [--tta N].

    Raises:
        SystemExit: for words that do not parse, and for `--help`.
    """
    keep_compiled()
    parser = Parser(prog=f"{cls.PROG} predict", description="Print classes of image files.")
    parser.add_argument("run", type=as_path, metavar="RUN", help="the directory of a run on images")
    parser.add_argument("images", nargs="+", type=as_path, metavar="IMAGE", help="an image file")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes to show")
    about = "average over N copies of each image too, augmented as in training"
    parser.add_argument("--tta", type=int, default=0, metavar="N", help=about)
    args = parser.parse_args(argv)
    try:
        _predict(cls, models, args)
    except (ValueError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return fail(LAST_WORD, INTERRUPTED)
    except Exception as error:
        if out_of_memory(error):
            return fail(error, FAILED)
        raise
    return 0


def _predict(
    cls: type[TrainOptions], models: Mapping[str, Callable[..., Any]], args: Namespace
) -> None:
    """Print the classes of `args.images`."""
    if args.top < 1:
        raise ValueError(f"{cls.PROG}: `--top` must be positive; got {args.top}. Use 1 or more.")
    options = read_config(cls, args.run)
    if options.is_search:
        raise ValueError(
            f"{cls.PROG}: predict needs a training on images; got {search_in(args.run, options)}"
        )
    spec = ImageSpec.read(args.run / "data.json")
    if args.tta:
        spec = _augmenting(cls.PROG, spec, args)
    rows = [read_rows(path, spec) for path in args.images]
    model = image_model(options, spec, models)
    found = restore_model(model, args.run)
    done = spec.augmentation.describe(photos=spec.photos)
    form = "cropped to their middle" if spec.photos else "resized"
    how = f"Images are {form}, at {spec.size} px; in training: {done}."
    say(*(f"Warning: {line}." for line in found.damaged), f"By {found.path}.", how)
    shares = _shares(model, found.state, spec, rows, args.tta)
    if unknown := [i for i, row in enumerate(shares) if not np.isfinite(row).all()]:
        raise ValueError(
            f"{cls.PROG}: the model's probabilities must be finite; got NaN for"
            f" {printable(args.images[unknown[0]])}. The training in {args.run} has diverged: lower"
            " its learning rate, or name another run."
        )
    for image, row in zip(args.images, shares, strict=True):
        say(printable(image))
        for name, share in top(row, spec.classes, args.top):
            say(f"  {share:7.2%}  {name}")


def _shares(
    model: Model, state: Any, spec: ImageSpec, rows: Sequence[dict[str, np.ndarray]], tta: int
) -> np.ndarray:
    """The probabilities of images of any shapes, float32[n, C], as `predict_images` has them."""
    prepare = jax.jit(lambda row, key: spec.prepare(row, key)["image"])  # a program for each shape
    keys = [None, *(jax.random.fold_in(jax.random.key(0), i) for i in range(tta))]
    numbered = [row | {"id": np.array([i], np.int32)} for i, row in enumerate(rows)]
    images = np.concatenate([np.asarray(prepare(row, key)) for row in numbered for key in keys])
    found = predict_images(model.apply, **state, images=images).reshape(len(rows), len(keys), -1)
    return with_copies(found[:, 0], found[:, 1:].mean(1)) if tta else found[:, 0]


def _augmenting(prog: str, spec: ImageSpec, args: Namespace) -> ImageSpec:
    """`spec` with what was done to training images, but for mixing them."""
    alone = replace(spec.augmentation, mix="none")
    if args.tta < 0 or alone.describe(photos=spec.photos) == "none":
        got = args.tta if args.tta < 0 else f"{args.run}, of a training without augmentation"
        raise ValueError(
            f"{prog}: `--tta` must be a number of copies, of a run that augments its images; got"
            f" {got}. Leave it out."
        )
    return replace(spec, augmentation=alone)


@checked
def restore_model(model: Model, run: Path) -> Restored:
    """The parameters and the model state of a run's newest checkpoint, without its optimizer.

    They are the `state` of what is returned, a dict of `params` and `model_state`; the parameters
    are those of `Loop(eval_params=...)`, if the run has it.

    Args:
        model: the model as it was when the run began.
        run: the directory of the run.

    Raises:
        CheckpointError: if no checkpoint is intact, or it is of another model.
    """
    params, model_state = jax.eval_shape(model.init, jax.random.key(0))
    like = SimpleNamespace(params=params, model_state=model_state)
    return restore(as_path(run) / "checkpoints", like, params_only=True, evaluated=True)
