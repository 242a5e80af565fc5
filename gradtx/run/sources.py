"""Where a run's batches come from: images or text, each process its part."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

import jax

from gradtx import data
from gradtx.data.text import Text, count_batches, text_batches
from gradtx.parallel.mesh import own_rows


class Source(NamedTuple):
    """The batches of a run, as `fit` takes them, and what is known of them."""

    train: Callable[[int, int], Iterable[Any]]  # (epoch, start) -> batches of that epoch
    valid: Callable[[], Iterable[Any]]
    steps: int  # an epoch
    fingerprint: str  # equal fingerprints mean equal data
    arrays: Callable[[str], Any] | None = None  # split -> all of it as one batch, for a sweep
    facts: data.ImageSpec | None = None
    skipped: data.SkippedImages | None = None


def image_source(
    dataset: data.Dataset,
    *,
    batch_size: int,
    size: int,
    seed: int = 0,
    shift: float = 0.0,
    limit: int | None = None,
) -> Source:
    """Shuffled and augmented batches of images at `size` pixels, and those to validate on.

    `batch_size` is that of all processes together. `shift` is `Augmentation`'s `pad`; `limit` ends
    each epoch, of either kind, after so many batches. Images that can't be read are left out.

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

    return Source(
        train,
        lambda: islice(data.valid_batches(dataset, **options), limit),
        steps,
        dataset.fingerprint,
        lambda split: data.device_arrays(dataset, size=size, split=split, skipped=skipped),
        data.ImageSpec.of(dataset, size=size),
        skipped,
    )


def text_source(text: Text, *, batch_size: int, length: int, limit: int | None = None) -> Source:
    """Streams of a text, read in its order: `batch_size` of them, `length` words a step.

    `limit` ends each epoch after so many batches.

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

    return Source(train, valid, steps, text.fingerprint)
