"""Where a run's batches come from: images or text, each process its part."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

import jax

from gradtx import data
from gradtx.data.text import Text, count_batches, moby_dick, text_batches
from gradtx.parallel.mesh import own_rows
from gradtx.parallel.processes import first_before_others, say
from gradtx.run.train_options import TrainOptions


class BatchSource(NamedTuple):
    """The batches of a run, as `fit` takes them, and what is known of them.

    Args:
        train: a function (epoch, start) -> the batches of that epoch from number `start` on.
        valid: a function of no arguments -> the batches to validate on.
        steps: the number of batches of an epoch.
        fingerprint: equal fingerprints mean equal data; a resumed run must have an equal one.
        arrays: for a sweep: a function of "train" or "valid" -> all of that split as one batch.
        spec: for images: their classes, size and normalization.
        skipped: for images: which could not be read.
    """

    train: Callable[[int, int], Iterable[Any]]
    valid: Callable[[], Iterable[Any]]
    steps: int
    fingerprint: str
    arrays: Callable[[str], Any] | None = None
    spec: data.ImageSpec | None = None
    skipped: data.SkippedImages | None = None


def load_images(options: TrainOptions) -> data.Dataset:
    """The data set that `--dataset` names; prints which it is.

    Of several processes the first loads it alone, to fill the caches, and then the others.

    Args:
        options: the options of the run; `dataset`, `data_dir`, `archive` and `size` decide.

    Raises:
        DataError: as `gradtx.data.load`.
    """
    with first_before_others():
        dataset = data.load(options.dataset, data_dir=options.data_dir, archive=options.archive)
    title = "Fashion-MNIST (embedded subset)" if dataset.name == "embedded" else dataset.name
    line = (
        f"Data: {title}, {len(dataset.train):,} training and {len(dataset.valid):,} validation"
        f" images in {len(dataset.classes)} classes, at {options.image_size} px."
    )
    hint = f"python {options.PROG} --dataset imagenette [--archive imagenette2-160.tgz]"
    other = f" This is not Imagenette; to train on that: {hint}"
    say(line + other if dataset.name == "embedded" else line)
    return dataset


def load_text() -> Text:
    """The text that the language model is trained on; prints which it is."""
    text = moby_dick()
    say(
        f"Data: {text.name} (embedded), {text.train.size:,} training and {text.valid.size:,}"
        f" validation tokens, {len(text.vocab):,} words."
    )
    return text


def image_source(
    dataset: data.Dataset,
    *,
    batch_size: int,
    size: int,
    seed: int = 0,
    shift: float = 0.0,
    limit: int | None = None,
) -> BatchSource:
    """Shuffled and augmented batches of images, and those to validate on.

    Each of several processes reads its part. Images that can't be read are left out.

    Args:
        dataset: the images.
        batch_size: images a step, of all processes together.
        size: pixels a side.
        seed: of the order and the augmentation.
        shift: the `pad` of `Augmentation`: the largest move of a small image, in [0, 1).
        limit: the most batches of an epoch, and of a validation; None: all.

    Raises:
        DataError: as `train_batches`, if there is not one batch.
    """
    steps = data.steps_per_epoch(dataset, batch_size)
    steps = min(steps, limit or steps)
    skipped = data.SkippedImages(dataset)
    options: dict[str, Any] = {"batch_size": batch_size, "size": size, "skipped": skipped}
    options["shard"] = (jax.process_index(), jax.process_count())
    augment = data.Augmentation(pad=shift)

    def train(epoch: int, start: int) -> Iterable[Any]:
        order = {"seed": seed, "epoch": epoch, "start": start}
        batches = data.train_batches(dataset, augment=augment, **order, **options)
        return islice(batches, steps - start)

    return BatchSource(
        train,
        lambda: islice(data.valid_batches(dataset, **options), limit),
        steps,
        dataset.fingerprint,
        lambda split: data.device_arrays(dataset, size=size, split=split, skipped=skipped),
        data.ImageSpec.of(dataset, size=size),
        skipped,
    )


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
