"""Where a run's batches come from: images or text, each process its part."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from gradtx import data
from gradtx.augment import Augmentation
from gradtx.config import invocation
from gradtx.core.foreign import close
from gradtx.data.text import Text, count_batches, moby_dick, text_batches
from gradtx.files import CACHE, as_path
from gradtx.kinds import checked
from gradtx.parallel.mesh import own_rows
from gradtx.parallel.processes import first_before_others, say
from gradtx.run.placement import Cache, Resident, on_device
from gradtx.run.train_options import PHOTOS, TrainOptions

PLAIN = Augmentation("none")


class BatchSource(NamedTuple):
    """The batches of a run, as `fit` takes them, and what is known of them.

    Args:
        train: a function (epoch, start) -> the batches of that epoch from number `start` on.
        valid: a function of no arguments -> the batches to validate on.
        steps: the number of batches of an epoch.
        fingerprint: equal fingerprints mean equal data; a resumed run must have an equal one.
        arrays: for a sweep: a function of "train" or "valid" -> all of that split as one batch.
        spec: for images: their classes, size and normalization, and what is done to them.
        skipped: for images: which could not be read.
    """

    train: Callable[[int, int], Iterable[Any]]
    valid: Callable[[], Iterable[Any]]
    steps: int
    fingerprint: str
    arrays: Callable[[str], Any] | Any = None
    spec: data.ImageSpec | Any = None
    skipped: data.SkippedImages | Any = None


def first_batch(source: BatchSource) -> Any:
    """The first training batch.

    Args:
        source: the batches of a run.
    """
    batches = source.train(0, 0)
    batch = next(iter(batches))
    close(batches)
    return batch


@checked
def load_images(options: TrainOptions) -> data.Dataset:
    """The data set that `--dataset` names; prints which it is.

    Of several processes the first loads it alone, to fill the caches, and then the others. Photos
    are on canvases, from a cache unless there is to be none: with `--cache none`, or to try
    something with `--limit-batches`.

    Args:
        options: the options of the run.

    Raises:
        DataError: as `gradtx.data.load`.
    """
    with first_before_others():
        where: Any = {"data_dir": options.data_dir, "archive": options.archive}
        folder = cache_folder(options)
        dataset = data.load(options.dataset, cache=folder, **where)
    data.steps_per_epoch(dataset, options.batch_size)  # nothing is decoded in vain
    done = options.augmentation.describe(photos=options.dataset in PHOTOS)
    title = "Fashion-MNIST (embedded subset)" if dataset.name == "embedded" else dataset.name
    line = (
        f"Data: {title}, {len(dataset.train):,} training and {len(dataset.valid):,} validation"
        f" images in {len(dataset.classes)} classes, at {options.image_size} px; in training:"
        f" {done}."
    )
    hint = f"{invocation(options.PROG)} --dataset imagenette [--archive imagenette2-160.tgz]"
    other = f" This is not Imagenette; to train on that: {hint}"
    say(line + other if dataset.name == "embedded" else line)
    if options.size is None and (remark := resizing(dataset, options.image_size)):
        say(remark)
    return data.on_canvas(
        dataset,
        size=options.image_size,
        scale=options.augmentation.scale[0],
        cache=folder if options.keeps_photos else None,
        limit=options.cache_limit * 1e9,
        say=say,
    )


def cache_folder(options: TrainOptions) -> Path | None:
    """Where decoded photos and digests of files are kept: beside prepared Imagenette, else in ours.

    None where there is no home directory.
    """
    if options.dataset == "imagenette" and options.data_dir is not None:
        return options.data_dir
    try:
        return as_path(CACHE)
    except ValueError:
        return None


def resizing(dataset: data.Dataset, size: int) -> str | None:
    """What to say where images are enlarged, or arrays resized, though nobody has asked for it."""
    if dataset.photos:
        largest = dataset.largest or size
        if largest >= size:
            return None
        what, own = f"The photos' short sides are at most {largest} px: they are enlarged", largest
    else:
        height, width, _ = dataset.train[0]["image"].shape
        if height == width == size:
            return None
        what, own = f"The images are {height} x {width} px: they are resized", max(height, width)
    return f"{what} to {size} px. `--size {own}` keeps them as large as they are."


def load_text() -> Text:
    """The text that the language model is trained on; prints which it is."""
    text = moby_dick()
    say(
        f"Data: {text.name} (embedded), {text.train.size:,} training and {text.valid.size:,}"
        f" validation tokens, {len(text.vocab):,} words."
    )
    return text


@checked
def image_source(
    dataset: data.Dataset,
    *,
    batch_size: int,
    size: int,
    seed: int = 0,
    augmentation: Augmentation = PLAIN,
    limit: int | None = None,
    cache: Cache = "host",
    mesh: Mesh | None = None,
) -> BatchSource:
    """Shuffled batches of images as they lie in memory, and those to validate on.

    What is done to them is done on the device: give `spec.prepare` of the result to the loop. Each
    of several processes reads its part. Images that can't be read are left out.

    Args:
        dataset: the images; photos are put on canvases, if they are on none yet.
        batch_size: images a step, of all processes together.
        size: pixels a side, that the model gets.
        seed: of the order.
        augmentation: what training images undergo, for `spec.prepare`.
        limit: the most batches of an epoch, and of a validation, whose images are then spread over
            the classes; None: all.
        cache: where the images live: "device": all of them on each device; "host" and "none":
            batches travel; "auto": as `gradtx.run.placement.on_device` decides.
        mesh: the devices of the run; None for the default one.

    Raises:
        DataError: as `train_batches`, if there is not one batch.
    """
    steps = data.steps_per_epoch(dataset, batch_size)
    steps = min(steps, limit or steps)
    dataset = data.on_canvas(dataset, size=size, scale=augmentation.scale[0])
    if limit is not None:
        dataset = data.limit_valid(dataset, limit * batch_size)
    spec = data.ImageSpec.of(dataset, size=size, augmentation=augmentation)
    skipped = data.SkippedImages(dataset)
    shared: dict[str, Any] = {
        "batch_size": batch_size,
        "shard": (jax.process_index(), jax.process_count()),
    }
    whole = lambda split: data.device_arrays(dataset, split=split, skipped=skipped)
    about: Any = (steps, dataset.fingerprint, whole, spec, skipped)
    if on_device(dataset, cache, mesh):
        resident = Resident(dataset, skipped, mesh)

        def train_rows(epoch: int, start: int) -> Iterable[Any]:
            order = data.train_order(dataset, seed=seed, epoch=epoch, start=start, **shared)
            return islice(resident.batches("train", order), steps - start)

        def valid_rows() -> Iterable[Any]:
            return resident.batches("valid", data.valid_order(dataset, **shared))

        return BatchSource(train_rows, valid_rows, *about)

    def train(epoch: int, start: int) -> Iterable[Any]:
        order = {"seed": seed, "epoch": epoch, "start": start}
        return islice(
            data.train_batches(dataset, skipped=skipped, **order, **shared), steps - start
        )

    def valid() -> Iterable[Any]:
        return data.valid_batches(dataset, skipped=skipped, **shared)

    return BatchSource(train, valid, *about)


@checked
def text_source(
    text: Text, *, batch_size: int, length: int, limit: int | None = None
) -> BatchSource:
    """Streams of a text, each read in its order, a part of it at every step.

    Args:
        text: the text.
        batch_size: the number of streams, of all processes together.
        length: words of each stream a step.
        limit: the most batches of an epoch, and of a validation; None: all.

    Raises:
        DataError: as `count_batches`, if there is not one batch.
    """
    shape: dict[str, Any] = {"batch_size": batch_size, "length": length}
    steps = count_batches(text.train, **shape)
    steps = min(steps, limit or steps)

    def train(epoch: int, start: int) -> Iterable[Any]:
        del epoch
        return map(own_rows, islice(text_batches(text.train, start=start, **shape), steps - start))

    def valid() -> Iterable[Any]:
        return map(own_rows, islice(text_batches(text.valid, pad=True, **shape), limit))

    return BatchSource(train, valid, steps, text.fingerprint)
