"""Training on mixtures of two examples."""

from gradtx import augment
from gradtx.kinds import Count, checked
from gradtx.loop import Hook, StepContext


@checked
def mixup(
    alpha: float = 0.4, *, classes: Count, inputs: str = "image", label: str = "label"
) -> Hook:
    """Mix every training example with another of its batch, and their labels alike.

        x' = l x + (1 - l) x[other]        y' = l y + (1 - l) y[other]
        l = max(b, 1 - b), b ~ Beta(alpha, alpha) for each example        other: a permutation

    It is `gradtx.augment.mixup` with the hook's key of the step. As an augmentation, in
    `Loop(prepare=...)`, its shares belong to the examples instead, in whatever batch they come.

    Args:
        alpha: of the Beta distribution, positive; larger means more mixing.
        classes: their number.
        inputs: the batch's entry of examples, float[B, ...].
        label: its entry of labels: int[B], which becomes float32[B, classes], or float[B, classes].

    Raises:
        ValueError: if `alpha` is not positive; on tracing, if the inputs are not floating.

    Source: Zhang et al. (2018), "mixup"; l for each example and at least 1/2 is fastai's.
    """
    mix = augment.mixup(alpha, classes=classes, inputs=inputs, label=label)

    def before_batch(state: tuple, context: StepContext):
        if not context.training:
            return state, context
        return state, context.replace(batch=mix(context.batch, context.key))

    return Hook("mixup", {"before_batch": before_batch}, requests=False)
