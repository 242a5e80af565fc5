"""Optimizers from parts: statistics of the gradient, and a step made from them.

    tx = scale_by_stats(average_grad(0.9), average_sqr_grad(0.99), step=rms_prop_step, eps=1e-8)

A statistic is a small value: what it remembers of each parameter, and how that changes with a
gradient. `scale_by_stats` merges any of them, ready or your own, into one transform and hands them
to one step function. The step count is `h.step`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from gradtx.core.hyperparams import MOMENTUM, NON_NEGATIVE, UNIT, Interval, ScalarOrSchedule
from gradtx.core.leafwise import Slot, leafwise, zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import abs_sq, bias_correction
from gradtx.kinds import Dtype, checked

Rule = Callable[..., jax.Array]
Step = Callable[[Any], Rule]


class Statistic(NamedTuple):
    """What is remembered of each parameter's gradients.

        rule = update(h)        new = rule(g, p, old)

    Args:
        name: name of the slot, and of the step's keyword argument.
        update: function of the hyperparameters `h`, as in `leafwise`, that returns the rule for one
            leaf; `g`, `p` and `old` are arrays of one shape and dtype.
        hyperparams: those it needs, each a pair of a number, a schedule or a JAX scalar, and the
            interval that it must lie in.
        start: makes the first value from the parameter.

    Source: fastai's stats functions, such as `average_grad`.
    """

    name: str
    update: Callable[[Any], Callable[[jax.Array, jax.Array | None, jax.Array], jax.Array]]
    hyperparams: Mapping[str, tuple[ScalarOrSchedule, Interval]] = {}
    start: Slot = zeros()


@checked
def average_grad(
    momentum: ScalarOrSchedule = 0.9, *, dampening: bool = False, dtype: Dtype | None = None
) -> Statistic:
    """The decaying sum of gradients, or with `dampening` their exponential average.

        grad_avg' = momentum grad_avg + (1 - momentum if dampening else 1) g

    Args:
        momentum: decay of the sum, in [0, 1); a number, a schedule or a JAX scalar.
        dampening: whether each gradient is multiplied by 1 - momentum, which makes the sum an
            average.
        dtype: dtype of the average; by default that of the parameter, at least float32.

    Raises:
        ValueError: when a transform is made of it, if `momentum` is a number outside [0, 1).

    Source: fastai's `average_grad`.
    """

    def update(h: Any):
        weight = 1 - h.momentum if dampening else 1
        return lambda g, p, old: h.momentum * old + weight * g

    return Statistic("grad_avg", update, {"momentum": (momentum, MOMENTUM)}, zeros(dtype))


@checked
def average_sqr_grad(decay: ScalarOrSchedule = 0.99, *, dtype: Dtype | None = None) -> Statistic:
    """The exponential average of squared gradients.

        sqr_avg' = decay sqr_avg + (1 - decay) g^2

    Args:
        decay: decay of the average, in [0, 1); a number, a schedule or a JAX scalar.
        dtype: dtype of the average; by default that of the parameter, at least float32.

    Raises:
        ValueError: when a transform is made of it, if `decay` is a number outside [0, 1).

    Source: fastai's `average_sqr_grad`.
    """

    def update(h: Any):
        return lambda g, p, old: h.decay * old + (1 - h.decay) * abs_sq(g)

    return Statistic("sqr_avg", update, {"decay": (decay, UNIT)}, zeros(dtype, real=True))


def momentum_step(h: Any) -> Rule:
    """The averaged gradient itself.

        u = grad_avg

    Args:
        h: the hyperparameters as attributes, scalars of the leaf's dtype, and the step count
            `h.step`.

    Source: fastai's `momentum_step`.
    """
    del h
    return lambda g, p, *, grad_avg: grad_avg


def rms_prop_step(h: Any) -> Rule:
    """The gradient, averaged if there is an average of it, over the root of its mean square.

        u = grad_avg / (sqrt(sqr_avg) + eps)        needs the hyperparameter eps

    Args:
        h: the hyperparameters as attributes, scalars of the leaf's dtype, and the step count
            `h.step`.

    Source: fastai's `rms_prop_step`.
    """

    def rule(g: jax.Array, p: Any, *, sqr_avg: jax.Array, grad_avg: jax.Array | None = None):
        del p
        return (g if grad_avg is None else grad_avg) / (root(sqr_avg) + h.eps)

    return rule


def adam_step(h: Any) -> Rule:
    """Bias-corrected averages, the gradient's over the root of its square's.

        u = grad_avg / (1 - momentum^step) / (sqrt(sqr_avg / (1 - decay^step)) + eps)

    The average must be a dampened one; needs the hyperparameter eps.

    Args:
        h: the hyperparameters as attributes, scalars of the leaf's dtype, and the step count
            `h.step`.

    Source: fastai's `adam_step`.
    """
    c1, c2 = bias_correction(h.momentum, h.step), bias_correction(h.decay, h.step)

    def rule(g: jax.Array, p: Any, *, grad_avg: jax.Array, sqr_avg: jax.Array):
        del g, p
        return grad_avg / c1 / (root(sqr_avg / c2) + h.eps)

    return rule


@checked
def scale_by_stats(
    *statistics: Statistic,
    step: Step,
    name: str = "scale_by_stats",
    needs_params: bool = False,
    **hyperparams: ScalarOrSchedule | tuple[ScalarOrSchedule, Interval],
) -> GradientTransformationExtraArgs:
    """Make a transform from statistics and one step function.

        s_i' = statistics[i].update(h)(g, p, s_i)        u = step(h)(g, p, name_1=s_1', ...)

    Each statistic's slot has its name and is like `params`, in at least float32 unless it says
    another dtype. All hyperparameters are in the state, where they can be set.

    >>> import jax.numpy as jnp
    >>> largest = Statistic("largest", lambda h: lambda g, p, old: jnp.maximum(old, jnp.abs(g)))
    >>> step = lambda h: lambda g, p, *, largest: g / (largest + h.eps)
    >>> tx = scale_by_stats(largest, step=step, eps=0)
    >>> state = tx.init(jnp.zeros(2))
    >>> for g in (jnp.array([4.0, -1.0]), jnp.array([2.0, 2.0])):
    ...     u, state = tx.update(g, state)
    >>> u.tolist()
    [0.5, 1.0]

    Args:
        statistics: what is remembered of each parameter's gradients.
        step: function of the hyperparameters that returns the rule for one leaf's update, from the
            gradient, the parameter and the statistics, keyword arguments under their names.
        name: name of the transform, for messages and states.
        needs_params: whether the step needs the parameters.
        **hyperparams: those that the step needs beside the statistics': a number, a schedule or a
            JAX scalar, which must not be negative, or a pair of it and its interval.

    Raises:
        ValueError: if two statistics share a name or a hyperparameter, or a number lies outside its
            interval; on `update`, without `params` although `needs_params`.

    Source: fastai's `Optimizer`, which is made of stats and steppers in the same way.
    """
    merged: dict[str, tuple[ScalarOrSchedule, Interval]] = {}
    given = {k: v if isinstance(v, tuple) else (v, NON_NEGATIVE) for k, v in hyperparams.items()}
    for part in [*(dict(s.hyperparams) for s in statistics), given]:
        _check_new(name, "hyperparameter", merged, part)
        merged |= part
    slots: dict[str, Slot] = {}
    for statistic in statistics:
        _check_new(name, "statistic", slots, {statistic.name: None})
        slots[statistic.name] = statistic.start

    def update(h: Any):
        rules, last = {s.name: s.update(h) for s in statistics}, step(h)
        if not callable(last):
            raise TypeError(
                f"{name}: `step` must return the rule, a function (g, p, **statistics); got"
                f" {type(last).__name__}. Write lambda h: lambda g, p, **statistics: ..."
            )

        def rule(g, p, **old):
            new = {slot: remember(g, p, old[slot]) for slot, remember in rules.items()}
            u = last(g, p, **new)
            return (u, new) if new else u

        return rule

    return leafwise(name, update, slots=slots, needs_params=needs_params, **merged)  # pyright: ignore


def _check_new(where: str, what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    shared = sorted(set(old) & set(new))
    if shared:
        raise ValueError(
            f"{where}: every {what} must have a name of its own; got `{shared[0]}` twice. Rename"
            " one of them."
        )
