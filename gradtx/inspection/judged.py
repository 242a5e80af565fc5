"""What a classifier says of each image of some batches, some at a time."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.tree import compute_dtype
from gradtx.inspection.subject import Subject, counted_rows, images_of
from gradtx.loop import Loop, TrainState
from gradtx.loop.calls import call_apply, call_loss
from gradtx.loop.form import entry, spec
from gradtx.loop.losses import LABEL
from gradtx.loop.prepared import prepared
from gradtx.loop.state import context_of
from gradtx.loop.weights import weight_of, without_gaps
from gradtx.parallel.axes import on_automatic


class Judged(NamedTuple):
    """A batch without the rows that only fill it up, and what the model says of the others.

    Args:
        images: as the model got them, [n, ...].
        labels: int[n], of a label that is shares the largest.
        probabilities: float32[n, C].
        losses: float[n].
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    losses: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class, -1 where one is NaN: int[n]."""
        unknown = np.isnan(self.probabilities).any(axis=1)
        return np.where(unknown, -1, self.probabilities.argmax(axis=1))


def judged(
    subject: Subject, loop: Loop, state: TrainState, inputs: str | int | None
) -> Iterator[Judged]:
    """Judge each validation batch, as validation does: nothing random, at `evaluated_params`.

        probabilities = softmax(apply(params, model_state, prepare(batch, None), training=False))

    Args:
        subject: the batches.
        loop: what was trained.
        state: one of it.
        inputs: the entry of images; None: they are not looked at.

    Raises:
        ValueError: if the prediction is not a score for each class, or there is no batch.
    """

    @jax.jit
    def look(state: TrainState, batch: Any) -> tuple[Any, Any, Any]:
        batch = prepared(loop, state, batch, training=False)
        batch = without_gaps(batch, weight_of(batch))
        context = context_of(state, training=False, batch=batch)
        pred, _ = call_apply(loop, context)
        _check(subject.where, pred)
        losses, counts = call_loss(loop, context.replace(pred=pred))
        losses = losses if counts is None else losses / jnp.maximum(counts, 1)
        p = jax.nn.softmax(pred.astype(compute_dtype(pred)), axis=-1)
        return batch, p.astype(jnp.float32), losses

    at = on_automatic(state.replace(params=loop.evaluated_params(state)))
    name, found = "label" if loop.label is None else loop.label, False
    for batch in subject.batches("valid"):
        batch, p, losses = look(at, batch)
        rows = counted_rows(batch)
        labels = np.asarray(entry(subject.where, batch, name, LABEL, place=1))[rows]
        images = np.zeros(len(p)) if inputs is None else images_of(subject.where, batch, inputs)
        labels = labels.argmax(axis=1) if labels.ndim == 2 else labels
        _check_classes(subject, labels, p.shape[1])
        found = found or bool(len(labels))
        yield Judged(
            np.asarray(images)[rows], labels, np.asarray(p)[rows], np.asarray(losses)[rows]
        )
    if not found:
        raise ValueError(
            f"{subject.where}: `source` must have an example that counts; got none. Pass some data."
        )


def _check(where: str, pred: Any) -> None:
    scores = hasattr(pred, "ndim") and pred.ndim == 2 and jnp.issubdtype(pred.dtype, jnp.floating)
    if not scores or pred.shape[1] < 2:
        raise ValueError(
            f"{where}: the prediction must be a score for each class, float[B, C] with C of 2 at"
            f" least; got {spec(pred)}. It is for classifiers of one class an image."
        )


def _check_classes(subject: Subject, labels: np.ndarray, classes: int) -> None:
    if subject.classes is not None and len(subject.classes) != classes:
        raise ValueError(
            f"{subject.where}: `classes` must name the {classes} classes of the prediction; got"
            f" {len(subject.classes)}. Pass a name for each."
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or not _inside(labels, classes):
        got = f"{labels.dtype}{[*labels.shape]}"
        raise ValueError(
            f"{subject.where}: labels must be classes, int[B] from 0 to {classes - 1}, or float[B,"
            f" {classes}]; got {got} from {labels.min(initial=0)} to {labels.max(initial=0)}. Name"
            " the entry that holds them by Loop(label=...)."
        )


def _inside(labels: np.ndarray, classes: int) -> bool:
    return not labels.size or bool((labels >= 0).all() and (labels < classes).all())
