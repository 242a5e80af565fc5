"""What the options add to a loop: guards against numbers that are not finite, and logging."""

import math
from collections.abc import Iterable

from gradtx.hooks import clip_gradients, loss_scaling, skip_nonfinite, terminate_on_nan
from gradtx.kinds import checked
from gradtx.loop import Hook
from gradtx.precision import Policy
from gradtx.run.options import RunOptions

MOST_SKIPPED = 5  # in a row


@checked
def with_guards(hooks: Iterable[Hook], options: RunOptions) -> list[Hook]:
    """`hooks`, and those that `--nonfinite`, `--log-gradient-norm` and `--precision` ask for.

    Args:
        hooks: the script's own hooks.
        options: the options of the run.
    """
    guard = {
        "stop": terminate_on_nan(gradients=False),
        "skip": skip_nonfinite(max_in_a_row=MOST_SKIPPED),
    }[options.nonfinite]
    norm = [clip_gradients(math.inf)] if options.log_gradient_norm else []
    scaling = [loss_scaling()] if Policy.of(options.precision).needs_loss_scaling else []
    return [*scaling, guard, *hooks, *norm]
