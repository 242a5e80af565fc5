"""Optimizers that need no falling learning rate."""

from typing import Any

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Dtype, checked
from gradtx.optimizers.terms import decayed
from gradtx.schedules.composite import warmup
from gradtx.transforms.rms import scale_by_rms
from gradtx.transforms.schedule_free import schedule_free


@checked
def schedule_free_sgd(
    learning_rate: ScalarOrSchedule = 1.0,
    warmup_steps: int | None = None,
    b1: ScalarOrSchedule = 0.9,
    weight_decay: ScalarOrSchedule | None = None,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """SGD on one copy of the parameters, averaged into another: `schedule_free`.

        z' = z - learning_rate (g + weight_decay p)        p = b1 x + (1 - b1) z

    Evaluate at `schedule_free_eval_params(state, params)`. The learning rate rises from 0 over
    `warmup_steps`.

    Args:
        learning_rate: factor of the step, in [0, inf); a number, a schedule or a JAX scalar, like
            all that have an interval.
        warmup_steps: number of updates over which the learning rate rises from 0; `None` or 0 for
            no warm-up.
        b1: weight of the average `x` in the point `p` at which gradients are taken, in (0, 1).
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        weight_lr_power: power of the largest learning rate so far that is a step's weight in `x`,
            in [0, inf).
        state_dtype: dtype of `z`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval or `warmup_steps` is negative; on
            `update`, without `params`.

    Source: Defazio et al. (2024), algorithm 1.
    """
    return schedule_free(
        chain(*decayed(weight_decay)),
        _warmed(learning_rate, warmup_steps),
        b1,
        weight_lr_power,
        state_dtype,
        scales=True,
    )


@checked
def schedule_free_adamw(
    learning_rate: ScalarOrSchedule = 0.0025,
    warmup_steps: int | None = None,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule | None = 0.0,
    weight_lr_power: ScalarOrSchedule = 2.0,
    state_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """AdamW on one copy of the parameters, averaged into another: `schedule_free`.

        z' = z - learning_rate (g / (sqrt(v_hat) + eps) + weight_decay p)    p = b1 x + (1 - b1) z

    Evaluate at `schedule_free_eval_params(state, params)`. The learning rate rises from 0 over
    `warmup_steps`. The average takes the place of a first moment, so none is kept.

    Args:
        learning_rate: factor of the step, in [0, inf); a number, a schedule or a JAX scalar, like
            all that have an interval.
        warmup_steps: number of updates over which the learning rate rises from 0; `None` or 0 for
            no warm-up.
        b1: weight of the average `x` in the point `p` at which gradients are taken, in (0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        weight_lr_power: power of the largest learning rate so far that is a step's weight in `x`,
            in [0, inf).
        state_dtype: dtype of `z`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval or `warmup_steps` is negative; on
            `update`, without `params`.

    Source: Defazio et al. (2024), algorithm 1.
    """
    scaled = scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True)
    return schedule_free(
        chain(scaled, *decayed(weight_decay)),
        _warmed(learning_rate, warmup_steps),
        b1,
        weight_lr_power,
        state_dtype,
        scales=True,
    )


def _warmed(learning_rate: Any, steps: int | None) -> ScalarOrSchedule:
    return warmup(learning_rate, steps) if steps else learning_rate
