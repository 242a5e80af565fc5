"""What a trained model says of images: probabilities of the classes, in code and as a command."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.checkpoint import restore
from gradtx.config import Parser
from gradtx.core.tree import compute_dtype
from gradtx.data import ImageSpec, read_images
from gradtx.loop import Loop, TrainState
from gradtx.parallel.processes import say
from gradtx.run.directory import read_config
from gradtx.run.launch import fail
from gradtx.run.options import RunOptions

C = TypeVar("C", bound=RunOptions)


def predictor(
    loop: Loop, params: Any, model_state: Any
) -> Callable[[Mapping[str, Any]], jax.Array]:
    """Return a compiled function of a batch: float[B, C], the model's probabilities.

        p = softmax(apply(params, model_state, batch, training=False))

    In float32, or float64 for float64 logits. Hooks take no part in it.
    """

    @jax.jit
    def probabilities(params: Any, model_state: Any, batch: Any) -> jax.Array:
        key = jax.random.key(0)  # nothing is random outside training
        logits, _ = loop.apply(params, model_state, batch, key=key, training=False)
        return jax.nn.softmax(logits.astype(compute_dtype(logits)), axis=-1)

    return lambda batch: probabilities(params, model_state, dict(batch))


def top(probabilities: np.ndarray, classes: Sequence[Any], count: int) -> list[tuple[str, float]]:
    """The `count` most probable classes of one image, the most probable first.

    >>> top(np.array([0.2, 0.7, 0.1]), ["cat", "dog", "eel"], 2)
    [('dog', 0.7), ('cat', 0.2)]

    Raises:
        ValueError: if `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"top: `count` must be positive; got {count}. Pass 1 or more.")
    order = np.argsort(-np.asarray(probabilities), kind="stable")[:count]
    return [(classes[i], float(probabilities[i])) for i in order]


def predict_images(
    loop: Loop, params: Any, model_state: Any, images: np.ndarray, *, batch_size: int = 32
) -> np.ndarray:
    """The probabilities of any number of images, float32[n, C], some at a time.

    The last batch is filled up with copies of its last image, so one program serves all.
    """
    predict = predictor(loop, params, model_state)
    size = min(batch_size, len(images))
    found = []
    for start in range(0, len(images), size):
        rows = np.minimum(np.arange(start, start + size), len(images) - 1)
        found.append(np.asarray(predict({"image": jnp.asarray(images[rows])}), np.float32))
    return np.concatenate(found)[: len(images)]


def predict(
    cls: type[C],
    make_loop: Callable[[C, ImageSpec, Callable[..., Any]], tuple[Loop, TrainState]],
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
        facts = ImageSpec.read(args.run / "data.json")
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
