"""What a trained model says of image files: for a program, and as a command."""

import csv
import io
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from gradtx.checkpoint import Restored, restore
from gradtx.config import Parser
from gradtx.data.folder import image_paths
from gradtx.data.image_spec import ImageSpec, read_rows
from gradtx.files import as_path, printable, write_atomically
from gradtx.kinds import checked
from gradtx.output import counted, lossy_output
from gradtx.parallel.processes import say
from gradtx.run.compiled import keep_compiled
from gradtx.run.directory import read_config, search_in
from gradtx.run.errors import FAILED, fail, out_of_memory
from gradtx.run.interrupt import INTERRUPTED, LAST_WORD
from gradtx.run.model import Model, image_model
from gradtx.run.probabilities import by_batches, predictor, top, with_copies
from gradtx.run.train_options import TrainOptions

C = TypeVar("C", bound=TrainOptions)

AT_ONCE, BATCH_SIZE = 256, 32  # images in memory, and in a program


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
        argv: the words of the command line, `RUN IMAGE... [--top K] [--tta N] [--csv FILE]`; an
            IMAGE may be a folder of them.

    Raises:
        SystemExit: for words that do not parse, and for `--help`.
    """
    keep_compiled()
    parser = Parser(prog=f"{cls.PROG} predict", description="Print classes of image files.")
    parser.add_argument("run", type=as_path, metavar="RUN", help="the directory of a run on images")
    parser.add_argument(
        "images", nargs="+", type=as_path, metavar="IMAGE", help="a file or a folder"
    )
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes to show")
    about = "average over N copies of each image too, augmented as in training"
    parser.add_argument("--tta", type=int, default=0, metavar="N", help=about)
    about = "write a table, a line an image with the probability of each class, and print nothing"
    parser.add_argument("--csv", type=as_path, metavar="FILE", help=about)
    args = parser.parse_args(argv)
    try:
        _show(cls, models, args)
    except (ValueError, OSError) as error:
        return fail(error)
    except KeyboardInterrupt:
        return fail(LAST_WORD, INTERRUPTED)
    except Exception as error:
        if out_of_memory(error):
            return fail(error, FAILED)
        raise
    return 0


class Predictions(NamedTuple):
    """What `predict_files` returns.

    Args:
        paths: the image files.
        classes: the names of the classes.
        probabilities: of each file and class, float32[n, C].
        checkpoint: the directory of the checkpoint that they are by.
        damaged: a line for each newer checkpoint that could not be used.
    """

    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    checkpoint: Path
    damaged: tuple[str, ...]

    @property
    def predicted(self) -> list[str]:
        """The most probable class of each file."""
        return [self.classes[i] for i in self.probabilities.argmax(1)]

    def as_csv(self) -> str:
        """A table: image, predicted, and the probability of each class."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["image", "predicted", *self.classes])
        for path, name, row in zip(self.paths, self.predicted, self.probabilities, strict=True):
            table.writerow([printable(path), name, *(f"{share:.6g}" for share in row)])
        return text.getvalue()


@checked
def predict_files(
    run: str | Path,
    images: Sequence[str | Path],
    *,
    tta: int = 0,
    options: type[TrainOptions] = TrainOptions,
    models: Mapping[str, Callable[..., Any]] | None = None,
) -> Predictions:
    """The probabilities of image files, by the newest intact checkpoint of a run.

    Args:
        run: the directory of a run on images.
        images: image files, or folders, of which all image files are taken, in order of their
            names.
        tta: how many augmented copies of each image to average over besides; 0: none.
        options: the dataclass of the run's options.
        models: what makes a model, by the names of `--model`: see `image_model`. None:
            `gradtx.models.IMAGE_MODELS`.

    Raises:
        ValueError: if `run` is no training on images, or a probability is NaN.
        DataError: naming the first file that cannot be read, or a folder without images.
        CheckpointError: if no checkpoint is intact, or it is of another model.
    """
    return _predicted(options, as_path(run), images, tta, models)[0]


def _predicted(
    cls: type[TrainOptions],
    run: Path,
    images: Sequence[str | Path],
    tta: int,
    models: Mapping[str, Callable[..., Any]] | None,
) -> tuple[Predictions, ImageSpec]:
    """What `predict_files` returns, and what the run's images are."""
    options, spec = image_run(cls, run, f"{cls.PROG}: predict needs")
    asked = _augmenting(cls.PROG, spec, tta, run) if tta else spec
    paths = image_paths(images)
    model = image_model(options, spec, models)
    found = restore_model(model, run)
    shares = _shares(model, found.state, asked, paths, tta)
    if unknown := [i for i, row in enumerate(shares) if not np.isfinite(row).all()]:
        raise ValueError(
            f"{cls.PROG}: the model's probabilities must be finite; got NaN for"
            f" {printable(paths[unknown[0]])}. The training in {run} has diverged: lower its"
            " learning rate, or name another run."
        )
    return Predictions(tuple(paths), spec.classes, shares, found.path, found.damaged), spec


def _show(
    cls: type[TrainOptions], models: Mapping[str, Callable[..., Any]], args: Namespace
) -> None:
    """Print the classes of `args.images`, or write them as a table."""
    if args.top < 1:
        raise ValueError(f"{cls.PROG}: `--top` must be positive; got {args.top}. Use 1 or more.")
    found, spec = _predicted(cls, args.run, args.images, args.tta, models)
    done = spec.augmentation.describe(photos=spec.photos)
    form = "cropped to their middle" if spec.photos else "resized"
    how = f"Images are {form}, at {spec.size} px; in training: {done}."
    say(*(f"Warning: {line}." for line in found.damaged), f"By {found.checkpoint}.", how)
    if args.csv is not None:
        write_atomically(args.csv, found.as_csv())
        say(f"Written: {args.csv}, {counted(len(found.paths), 'image')}.")
        return
    for image, row in zip(found.paths, found.probabilities, strict=True):
        say(printable(image))
        for name, share in top(row, found.classes, args.top):
            say(f"  {share:7.2%}  {name}")


def _shares(
    model: Model, state: Any, spec: ImageSpec, paths: Sequence[Path], tta: int
) -> np.ndarray:
    """The probabilities of images of any shapes, float32[n, C], as `predict_images` has them."""
    prepare = jax.jit(lambda row, key: spec.prepare(row, key)["image"])  # a program for each shape
    predict = predictor(model.apply, **state)
    keys = [None, *(jax.random.fold_in(jax.random.key(0), i) for i in range(tta))]

    def of(first: int) -> np.ndarray:
        rows = [read_rows(path, spec) for path in paths[first : first + AT_ONCE]]
        numbered = [row | {"id": np.array([i], np.int32)} for i, row in enumerate(rows, first)]
        images = np.concatenate([np.asarray(prepare(row, key)) for row in numbered for key in keys])
        found = by_batches(predict, {"image": images}, batch_size=BATCH_SIZE)
        found = found.reshape(len(rows), len(keys), -1)
        return with_copies(found[:, 0], found[:, 1:].mean(1)) if tta else found[:, 0]

    return np.concatenate([of(first) for first in range(0, len(paths), AT_ONCE)])


def image_run(cls: type[C], run: Path, must: str) -> tuple[C, ImageSpec]:
    """The options of a training on images, and what its images are.

    Args:
        cls: the dataclass of the options.
        run: the directory of the run.
        must: how the message begins that it is another kind of run: "export: `run` must be".

    Raises:
        ValueError: beginning with `must`, if it is; as `read_config` and `ImageSpec.read`.
    """
    options = read_config(cls, run)
    if options.is_search:
        raise ValueError(f"{must} a training on images; got {search_in(run, options)}")
    if options.model == "lstm":
        raise ValueError(f"{must} a training on images; got {run}, one on text. Name another run.")
    return options, ImageSpec.read(run / "data.json")


def _augmenting(prog: str, spec: ImageSpec, tta: int, run: Path) -> ImageSpec:
    """`spec` with what was done to training images, but for mixing them."""
    alone = replace(spec.augmentation, mix="none")
    if tta < 0 or alone.describe(photos=spec.photos) == "none":
        got = tta if tta < 0 else f"{run}, of a training without augmentation"
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
