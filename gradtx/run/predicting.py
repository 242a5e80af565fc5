"""What a trained model makes of image files, from the command line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax

from gradtx.checkpoint import restore
from gradtx.config import Parser
from gradtx.data import ImageFacts, read_images
from gradtx.distributed import say
from gradtx.loop import Loop, TrainState
from gradtx.predict import predict_images, top
from gradtx.run.directory import read_config
from gradtx.run.launch import fail
from gradtx.run.options import RunOptions

C = TypeVar("C", bound=RunOptions)


def predict(
    cls: type[C],
    make_loop: Callable[[C, ImageFacts, Callable[..., Any]], tuple[Loop, TrainState]],
    argv: Sequence[str],
) -> int:
    """Print the most probable classes of image files, by a run's newest checkpoint.

    `argv` is RUN IMAGE... [--top K]. `make_loop(config, facts, start)` makes the loop for the run's
    options and images, and its state by `start(f, key)`, which is `jax.eval_shape`: only the form
    is needed. Returns the exit status, as `launch`.
    """
    parser = Parser(prog=f"{cls.PROG} predict", description="Print classes of image files.")
    parser.add_argument("run", type=Path, metavar="RUN", help="the directory of a run on images")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="an image file")
    parser.add_argument("--top", type=int, default=5, metavar="K", help="classes to show")
    args = parser.parse_args(argv)
    try:
        if args.top < 1:
            raise ValueError(
                f"{cls.PROG}: `--top` must be positive; got {args.top}. Use 1 or more."
            )
        config = read_config(cls, args.run)
        if config.sweep or config.find_lr:
            raise ValueError(
                f"{cls.PROG}: predict needs a training on images; got {args.run}, a search without"
                " checkpoints. Name another run."
            )
        facts = ImageFacts.read(args.run / "data.json")
        images = read_images(args.images, facts)
        loop, state = make_loop(config, facts, jax.eval_shape)
        found = restore(args.run / "checkpoints", state, params_only=True)
    except ValueError as error:
        return fail(error)
    say(*(f"Warning: {line}." for line in found.damaged), f"By {found.path}.")
    shares = predict_images(loop, **found.state, images=images)
    for image, row in zip(args.images, shares, strict=True):
        print(image)
        for name, share in top(row, facts.classes, args.top):
            print(f"  {share:7.2%}  {name}")
    return 0
