"""A trained classifier as files that need neither gradtx nor its code of the model."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from gradtx.config import Parser
from gradtx.core.tree import compute_dtype, path_name
from gradtx.files import as_path, write_atomically
from gradtx.kinds import checked
from gradtx.parallel.processes import say
from gradtx.run.errors import fail
from gradtx.run.model import image_module, linen_model
from gradtx.run.predict import image_run, restore_model
from gradtx.run.train_options import TrainOptions
from gradtx.sealed import read_json, write_json

PROGRAM, VALUES, ABOUT = "model.jax", "model.safetensors", "model.json"
PLATFORMS = ("cpu", "cuda", "tpu")


@checked
def export(
    run: str | Path,
    out: str | Path | None = None,
    *,
    platforms: Sequence[str] = PLATFORMS,
    models: Mapping[str, Callable[..., Any]] | None = None,
) -> Path:
    """Write the classifier of a run as a program and its arrays; returns their folder.

        p = softmax(model((x - mean) / std))        p float32[n, C], x float32[n, size, size, c]

    The folder holds model.jax, what `jax.export` writes, of (arrays by name, x), with any number
    of images n; model.safetensors, the arrays, parameters as "params/..." and the model's state by
    its collections; and model.json, the classes, the size and where the numbers come from.
    Convolutions are XLA's own on every platform. To use them: `load_exported`, or without gradtx

        program = jax.export.deserialize(bytearray(open("model.jax", "rb").read()))
        p = program.call(safetensors.numpy.load_file("model.safetensors"), x)

    Args:
        run: the directory of a run of `TrainOptions` on images; its newest intact checkpoint is
            taken, at `Loop(eval_params=...)` if it has that.
        out: where to write; None: `run`/exported.
        platforms: where the program runs, names of `jax.export`: "cpu", "cuda", "rocm", "tpu".
        models: what makes a model, by the names of `--model`: see `image_model`. None:
            `gradtx.models.IMAGE_MODELS`.

    Raises:
        ValueError: if `run` is no training on images.
        CheckpointError: if no checkpoint is intact, or it is of another model.
        ImportError: without the packages of the extra `export`.
    """
    save = _safetensors().save
    run = as_path(run)
    options, spec = image_run(TrainOptions, run, "export: `run` must be")
    module = _native(image_module(options, spec, models))
    model = linen_model(module, spec.example, precision=options.precision)
    found = restore_model(model, run)
    state = {"params": found.state["params"], **found.state["model_state"]}
    paths, tree = jax.tree.flatten_with_path(state)
    arrays = {path_name(path): np.asarray(leaf) for path, leaf in paths}

    def probabilities(arrays: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
        state = jax.tree.unflatten(tree, [arrays[path_name(path)] for path, _ in paths])
        params = state.pop("params")
        mean, std = np.asarray([spec.mean, spec.std], np.float32).reshape(2, 1, 1, 1, -1)
        batch = {"image": (x - mean) / std}
        logits, _ = model.apply(params, state, batch, key=jax.random.key(0), training=False)
        return jax.nn.softmax(logits.astype(compute_dtype(logits)), axis=-1)

    count = jax_export.symbolic_shape("n")[0]
    shape = (count, spec.size, spec.size, spec.channels)
    like = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in arrays.items()}
    program = jax_export.export(jax.jit(probabilities), platforms=platforms)(
        like, jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    folder = as_path(run / "exported" if out is None else out)
    folder.mkdir(parents=True, exist_ok=True)
    files = {PROGRAM: bytes(program.serialize()), VALUES: save(arrays)}
    about = {
        "classes": spec.classes,
        "size": spec.size,
        "channels": spec.channels,
        "platforms": list(platforms),
        "jax": jax.__version__,
        "checkpoint": found.path.name,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    for name, data in files.items():
        write_atomically(folder / name, data)
    write_json(folder / ABOUT, about)
    return folder


class Exported(NamedTuple):
    """A classifier that `load_exported` has read.

    Args:
        classes: their names, by place.
        size: the side in pixels of an image.
        channels: of an image.
        program: (arrays by name, float32[n, size, size, channels]) -> probabilities, float[n, C].
        arrays: the parameters and the model's state.
    """

    classes: tuple[str, ...]
    size: int
    channels: int
    program: Callable[[Mapping[str, Any], Any], jax.Array]
    arrays: Mapping[str, jax.Array]

    def __call__(self, images: Any) -> jax.Array:
        """The probabilities of images, float[n, C].

        Args:
            images: float32[n, size, size, channels] in [0, 1].
        """
        return self.program(self.arrays, images)


@checked
def load_exported(folder: str | Path) -> Exported:
    """Read what `export` has written.

    Args:
        folder: where it is.

    Raises:
        ValueError: if it is something else, or a file of it was altered.
        ImportError: without the packages of the extra `export`.
    """
    load = _safetensors().load
    folder = as_path(folder)
    try:
        about = read_json(folder / ABOUT)
        files = {name: (folder / name).read_bytes() for name in (PROGRAM, VALUES)}
        for name, data in files.items():
            if hashlib.sha256(data).hexdigest() != about["files"][name]:
                raise ValueError(f"{name} is not what was written")
        program = jax_export.deserialize(bytearray(files[PROGRAM]))
        values = load(files[VALUES])
        arrays = {name: jnp.asarray(value) for name, value in values.items()}
        sizes = about["size"], about["channels"]
        return Exported(tuple(about["classes"]), *sizes, jax.jit(program.call), arrays)
    except Exception as error:  # of three readers, each with errors of its own
        raise ValueError(
            f"load_exported: `folder` must be what export has written; got {folder}, which cannot"
            f" be read: {error}. Export the run again."
        ) from error


def main(argv: Sequence[str]) -> int:
    """Run `gradtx export`; returns the exit status.

    Args:
        argv: its words.
    """
    parser = Parser(prog="gradtx export", description="Write a run's model as files.")
    parser.add_argument("run", type=as_path, metavar="RUN", help="the directory of a run on images")
    parser.add_argument("--out", type=as_path, help="where to write (default: RUN/exported)")
    args = parser.parse_args(argv)
    try:
        folder = export(args.run, args.out)
    except (ValueError, OSError, ImportError) as error:
        return fail(error)
    say(f"Written to {folder}: {PROGRAM}, {VALUES}, {ABOUT}.")
    return 0


def _native(module: Any) -> Any:
    """A module with XLA's own convolutions, if it has another form of them."""
    return module.clone(conv_form="native") if hasattr(module, "conv_form") else module


def _safetensors() -> Any:
    try:
        import flatbuffers  # noqa: F401  # which jax.export needs
        import safetensors.numpy as found
    except ImportError as error:
        raise ImportError(
            f"export: the extra `export` must be installed; got {error}. Install it: pip install"
            " 'gradtx[export]'."
        ) from error
    return found
