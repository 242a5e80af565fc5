"""What the options add to a loop: guards against numbers that are not finite, and logging."""

import math
from collections.abc import Iterable
from typing import Any

from gradtx.hooks import (
    clip_gradients,
    layer_health,
    layer_histograms,
    loss_scaling,
    skip_nonfinite,
    terminate_on_nan,
)
from gradtx.kinds import checked
from gradtx.loop import Hook
from gradtx.precision import Policy
from gradtx.run.options import RunOptions

MOST_SKIPPED = 5  # in a row


@checked
def with_guards(hooks: Iterable[Hook], options: RunOptions, *, tx: Any = None) -> list[Hook]:
    """`hooks`, and those that `--nonfinite`, `--log-gradient-norm` and the like ask for.

    With `--health N` every layer is measured at each N-th step, and counted at each 10 N-th.

    Args:
        hooks: the script's own hooks.
        options: the options of the run.
        tx: the loop's optimizer, whose parts `--health` measures; None: they are not measured.
    """
    guard = {
        "stop": terminate_on_nan(gradients=False),
        "skip": skip_nonfinite(max_in_a_row=MOST_SKIPPED),
    }[options.nonfinite]
    norm = [clip_gradients(math.inf)] if options.log_gradient_norm else []
    scaling = [loss_scaling()] if Policy.of(options.precision).needs_loss_scaling else []
    health = []
    if options.health is not None and not options.is_search:
        health = [layer_health(tx, every=options.health), layer_histograms(10 * options.health)]
    return [*scaling, guard, *hooks, *norm, *health]
