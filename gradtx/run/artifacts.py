"""What a run writes when it is over: predictions, counts of faults, the report."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradtx.data.image_spec import ImageSpec
from gradtx.files import as_path
from gradtx.loop import Loop, TrainState
from gradtx.loop.prepared import prepared
from gradtx.observers.tensorboard import write_images
from gradtx.parallel.processes import say
from gradtx.report.faults import write_faults
from gradtx.report.page import write_report
from gradtx.report.run import count_unreadable, skipped_images
from gradtx.report.validation import Validation, validate, write_validation
from gradtx.run.probabilities import predictor


def finish(
    out: str | Path,
    loop: Loop,
    state: TrainState,
    valid: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    spec: ImageSpec | None = None,
) -> list[str]:
    """Write faults.json and report.html to `out`, and for images validation.npz; returns names.

    `valid` gives the validation batches, each with a weight, and `spec` what they are of; without
    it, as for text, there are no predictions. A job of several processes has none either. The
    images that are most wrong are among the events, too. The images that could not be read are
    those of `out`/skipped.jsonl.
    """
    out, names, faults = as_path(out), ["faults.json"], loop.faults(state)
    if spec is not None and jax.process_count() == 1:
        predict = predictor(loop.apply, loop.evaluated_params(state), state.model_state)
        prepare = jax.jit(lambda batch: prepared(loop, state, batch, training=False))
        found = validate(predict, map(prepare, valid()), mean=spec.mean, std=spec.std)
        write_validation(found, out / "validation.npz")
        names.append("validation.npz")
        write_images(out / "tensorboard", _worst(found, spec), int(state.step))
    if spec is not None:  # only now: validation may have come upon another image
        faults |= count_unreadable(skipped_images(out / "skipped.jsonl"))
    write_faults(faults, out)
    return names + unless_missing("report.html", lambda: write_report(out))


def _worst(found: Validation, spec: ImageSpec) -> dict[str, np.ndarray]:
    """The images that the model gets most wrong, by what they are and what it says they are."""
    of = lambda label: spec.classes[label] if label >= 0 else "none"
    pairs = [(of(found.labels[i]), of(found.predicted[i])) for i in found.worst]
    names = [f"worst/{n:02}_{a}_taken_for_{b}" for n, (a, b) in enumerate(pairs)]
    return dict(zip(names, found.images, strict=True))


def unless_missing(name: str, draw: Callable[[], Any]) -> list[str]:
    """The name of what `draw` writes, or none where matplotlib, an extra, is not installed."""
    try:
        draw()
    except ImportError as error:
        say(f"No {name}: {error}")
        return []
    return [name]
