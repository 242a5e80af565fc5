"""The command that prints what a trained model says of image files."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from gradtx.checkpoint import Restored, restore
from gradtx.config import Parser
from gradtx.data.image_spec import ImageSpec, read_images
from gradtx.files import as_path, printable
from gradtx.kinds import checked
from gradtx.output import lossy_output
from gradtx.parallel.processes import say
from gradtx.run.compiled import keep_compiled
from gradtx.run.directory import read_config
from gradtx.run.errors import FAILED, fail, out_of_memory
from gradtx.run.interrupt import INTERRUPTED, LAST_WORD
from gradtx.run.model import Model, image_model
from gradtx.run.probabilities import predict_images, top
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
        argv: the words of the command line: RUN IMAGE... [--top K].

    Raises:
        SystemExit: for words that do not parse, and for `--help`.
    """
    keep_compiled()
    parser = Parser(prog=f"{cls.PROG} predict", description="Print classes of image files.")
    parser.add_argument("run", type=as_path, metavar="RUN", help="the directory of a run on images")
    parser.add_argument("images", nargs="+", type=as_path, metavar="IMAGE", help="an image file")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes to show")
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
    if options.sweep or options.find_lr:
        raise ValueError(
            f"{cls.PROG}: predict needs a training on images; got {args.run}, a search without"
            " checkpoints. Name another run."
        )
    spec = ImageSpec.read(args.run / "data.json")
    images = read_images(args.images, spec)
    model = image_model(options, spec, models)
    found = restore_model(model, args.run)
    done = spec.augmentation.describe(photos=spec.photos)
    form = "cropped to their middle" if spec.photos else "resized"
    how = f"Images are {form}, at {spec.size} px; in training: {done}."
    say(*(f"Warning: {line}." for line in found.damaged), f"By {found.path}.", how)
    shares = predict_images(model.apply, **found.state, images=images)
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
