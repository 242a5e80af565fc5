"""The events of a training loop, and what a request to skip or to end something does.

A hook asks for it by `context.request(...)`; requests combine by max, so the outermost wins:

| Request          | what is skipped                         | what it leaves unchanged           |
|-----------------|-----------------------------------------|------------------------------------|
| `SKIP_BACKWARD` | the gradient: it is zero, the step runs | -                                  |
| `SKIP_STEP`     | the optimizer's step                    | params, optimizer state            |
| `SKIP_BATCH`    | the rest of the batch                   | params, optimizer and model state  |
| `END_PHASE`     | the rest of the train or validate phase | as `SKIP_BATCH` for this batch     |
| `END_EPOCH`     | the rest of the epoch                   | as `SKIP_BATCH` for this batch     |
| `END_FIT`       | the rest of the fit                     | as `SKIP_BATCH` for this batch     |

One rule says what happens then. The levels are nested: fit > epoch > phase > batch > step or
backward. A level that was opened by its `before_` event is always closed, innermost first, by its
`after_` event; the level that was asked to end is closed by `after_cancel_`, then `after_`. Nothing
else of the levels inside runs. When a level has closed, requests for it and for levels inside it
are over. A request for a level that is not open yet waits until it opens, in the same outer level;
one made when it has closed is over at once. So no request escapes, none is lost in between, and
every `before_` has exactly one `after_`.
"""

from enum import IntEnum


class Request(IntEnum):
    """A request to skip or to end something; the greater wins."""

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
