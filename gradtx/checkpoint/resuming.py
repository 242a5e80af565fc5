"""Resuming a fit from its newest checkpoint."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from gradtx.checkpoint.errors import CheckpointError
from gradtx.checkpoint.layout import entries
from gradtx.checkpoint.restoring import restore
from gradtx.kinds import checked
from gradtx.loop import History, TrainState
from gradtx.output import counted, say_on_stdout


@checked
def resume(
    directory: str | Path,
    *,
    must_match: Mapping[Any, Any] | None = None,
    say: Callable[[str], None] = say_on_stdout,
) -> Callable[[TrainState], tuple[TrainState, History]]:
    """For `fit(..., resume=resume(directory))`: continue from the newest intact checkpoint.

        state, history = the checkpoint's        or, if there is none yet, state, History()

    The history has the rows of the epochs that are done. Since the state has the position in the
    data, the hooks' states and the key of all random numbers, the fit then ends as if it had never
    been interrupted. It works with a recipe as with `fit`, called as it was.

    Args:
        directory: the directory of checkpoints; it need not be there yet.
        must_match: values that must be those which the checkpoint was saved with, as for `restore`.
        say: is given a line about what is used, and one for each newer checkpoint that is damaged.

    Raises:
        CheckpointError: when the fit begins, as `restore`.
    """

    def begin(state: TrainState) -> tuple[TrainState, History]:
        if os.path.lexists(directory) and not Path(directory).is_dir():
            raise CheckpointError(
                f"checkpoint: {directory} must be a directory of checkpoints; got something else."
                " Put it back, or remove that to begin anew."
            )
        if not entries(directory):
            say(f"No checkpoint yet in {directory}: the run begins anew.")
            return state, History()
        found = restore(directory, state, must_match=must_match)
        for line in found.damaged:
            say(f"Warning: {line}; an older one is used.")
        say(f"Going on from {found.path}, after {counted(found.meta.step, 'step')}.")
        if found.meta.wrote["jax"] != jax.__version__:
            say(
                f"Warning: it was saved under JAX {found.meta.wrote['jax']}, and this is"
                f" {jax.__version__}: the last digits may differ from a run without interruption."
            )
        return found.state, History(list(found.meta.rows))

    return begin
