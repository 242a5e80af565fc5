"""Data sets and their batches: `load` a `Dataset`, then iterate `train_batches`.

    dataset = load("embedded")
    for batch in train_batches(dataset, batch_size=64, seed=0, epoch=0):
        batch["image"], batch["label"], batch["weight"]

Needs the extra `data`; nothing in gradtx imports this package.
"""

from importlib.util import find_spec
from pathlib import Path

# Not imported here: grain takes long, and is needed only for batches.
if missing := [name for name in ("grain", "PIL") if find_spec(name) is None]:
    raise ModuleNotFoundError(
        f"gradtx.data needs {missing[0]}. Install it with `pip install 'gradtx[data]'`.",
        name=missing[0],
    )

from gradtx.data.arrays import arrays
from gradtx.data.canvases import on_canvas
from gradtx.data.dataset import Dataset, Examples
from gradtx.data.embedded import embedded
from gradtx.data.errors import DataError
from gradtx.data.folder import folder
from gradtx.data.image_spec import ImageSpec, read_images, read_rows
from gradtx.data.imagenette import imagenette
from gradtx.data.order import Order, only_readable, steps_per_epoch, train_order, valid_order
from gradtx.data.pipeline import device_arrays, train_batches, valid_batches
from gradtx.data.reading import Batch, bytes_of
from gradtx.data.skipped import SkippedImages
from gradtx.data.subset import limit_valid
from gradtx.kinds import checked

__all__ = [
    "Batch",
    "DataError",
    "Dataset",
    "Examples",
    "ImageSpec",
    "Order",
    "SkippedImages",
    "arrays",
    "bytes_of",
    "device_arrays",
    "embedded",
    "folder",
    "imagenette",
    "limit_valid",
    "load",
    "on_canvas",
    "only_readable",
    "read_images",
    "read_rows",
    "steps_per_epoch",
    "train_batches",
    "train_order",
    "valid_batches",
    "valid_order",
]

NAMES = ("embedded", "imagenette", "folder", "arrays")


@checked
def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    archive: str | Path | None = None,
    cache: str | Path | None = None,
) -> Dataset:
    """The data set of that name, or an error: no data set ever stands in for another.

    - "embedded": the Fashion-MNIST subset of the package; takes no path.
    - "imagenette": prepared in `data_dir` (default ~/.cache/gradtx), from `archive` if given.
    - "folder": the tree train/<class>/<image>, val/<class>/<image> in `data_dir`.
    - "arrays": `data_dir` is the path of an .npz file.

    Args:
        name: one of these.
        data_dir: where the data is; only "imagenette" has a default.
        archive: imagenette2-160.tgz, for "imagenette" alone.
        cache: as `folder` takes it.

    Raises:
        DataError: if the name is unknown, a path is missing or not used, or the data is bad.
    """
    if name not in NAMES:
        raise DataError(
            f"load: `name` must be one of {', '.join(NAMES)}; got {name!r}. Choose one."
        )
    if archive is not None and name != "imagenette":
        raise DataError(f"load: `archive` is for imagenette only; got it with {name!r}. Drop it.")
    if name == "embedded":
        if data_dir is not None:
            raise DataError(
                "load: 'embedded' takes no `data_dir`. Drop it, or name another data set."
            )
        return embedded()
    if name == "imagenette":
        return imagenette(data_dir, archive=archive)
    if data_dir is None:
        raise DataError(f"load: {name!r} needs `data_dir`; got None. Name where the data is.")
    return folder(data_dir, cache=cache) if name == "folder" else arrays(data_dir)
