"""The events of a training loop, and the requests; what one leads to says gradtx.loop.rule."""

from enum import IntEnum


class Request(IntEnum):
    """A request to skip or to end something; the greater wins.

    Attributes:
        CONTINUE: go on.
        SKIP_BACKWARD: compute no gradient; it is zero, and the step runs.
        SKIP_STEP: leave out the optimizer's step.
        SKIP_BATCH: leave out the rest of the batch.
        END_PHASE: end the train or validate phase.
        END_EPOCH: end the epoch.
        END_FIT: end the fit.
    """

    CONTINUE = 0
    SKIP_BACKWARD = 1
    SKIP_STEP = 2
    SKIP_BATCH = 3
    END_PHASE = 4
    END_EPOCH = 5
    END_FIT = 6


BATCH_EVENTS = (
    "before_batch",
    "after_pred",
    "after_loss",
    "before_backward",
    "after_cancel_backward",
    "after_backward",
    "before_step",
    "after_update",
    "after_cancel_step",
    "after_step",
    "after_cancel_batch",
    "after_batch",
)
PHASE_EVENTS = (
    "before_fit",
    "before_epoch",
    "before_train",
    "after_cancel_train",
    "after_train",
    "before_validate",
    "after_cancel_validate",
    "after_validate",
    "after_cancel_epoch",
    "after_epoch",
    "after_cancel_fit",
    "after_fit",
)
EVENTS = BATCH_EVENTS + PHASE_EVENTS
# These run inside the function that is differentiated: what they do to the loss changes the
# gradient, and the parameters they see can't be replaced.
DIFFERENTIATED = ("after_pred", "after_loss", "before_backward")
# These a batch can pass by and go on.
OPTIONAL = ("after_cancel_backward", "after_update", "after_cancel_step", "after_cancel_batch")
