"""Adam, with decoupled weight decay, with Nesterov's step, and with both."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Dtype, checked
from gradtx.optimizers.terms import decayed, optional
from gradtx.transforms.adam import scale_by_adam
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.weight_decay import add_l2


@checked
def adam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = False,
    l2: ScalarOrSchedule | None = None,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Adam, without weight decay.

        u = -learning_rate m_hat / (sqrt(v_hat + eps_root) + eps)        of grad + l2 p

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        mu_dtype: dtype of the first moment; by default that of the parameter, at least float32.
        nesterov: whether the first moment looks one step ahead.
        l2: coefficient of an L2 penalty, finite, which is part of the gradient; `None` leaves
            it out.
        nu_dtype: dtype of the second moment; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `l2`.

    Source: Kingma and Ba (2015), algorithm 1.
    """
    return chain(
        *optional(add_l2, l2),
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype),
        scale_by_learning_rate(learning_rate),
    )


@checked
def adamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Dtype | None = None,
    weight_decay: ScalarOrSchedule | None = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Adam with decoupled weight decay.

        u = -learning_rate (m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay p)

    Decay comes after Adam's scaling, which is what makes it decoupled, and before the learning
    rate, so that both anneal together; in the paper the decay follows the schedule but not the
    base rate. It acts where `mask` is True. The defaults are Optax's; PyTorch's decay is 0.01, and
    `presets.fastai_adam` has fastai's numbers.

    >>> import jax.numpy as jnp
    >>> tx = adamw(1e-3, weight_decay=0.01)
    >>> params = {"w": jnp.ones(3)}
    >>> updates, state = tx.update({"w": jnp.zeros(3)}, tx.init(params), params)
    >>> bool(jnp.allclose(updates["w"], -1e-3 * 1e-2))  # no gradient: only decay is left
    True

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        mu_dtype: dtype of the first moment; by default that of the parameter, at least float32.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.
        nesterov: whether the first moment looks one step ahead.
        nu_dtype: dtype of the second moment; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: Loshchilov and Hutter (2019), algorithm 2.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@checked
def nadam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = True,
    l2: ScalarOrSchedule | None = None,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """Adam whose first moment looks one step ahead: `adam` with `nesterov=True`.

        u = -learning_rate m_hat / (sqrt(v_hat + eps_root) + eps)        of grad + l2 p
        m_hat = b1 mu' / (1 - b1^(step + 1)) + (1 - b1) g / (1 - b1^step)

    PyTorch's NAdam warms its momentum up besides, which this does not.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        mu_dtype: dtype of the first moment; by default that of the parameter, at least float32.
        nesterov: whether the first moment looks one step ahead.
        l2: coefficient of an L2 penalty, finite, which is part of the gradient; `None` leaves
            it out.
        nu_dtype: dtype of the second moment; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `l2`.

    Source: Dozat (2016), section 3.
    """
    return adam(
        learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, l2=l2, nu_dtype=nu_dtype
    )


@checked
def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Dtype | None = None,
    weight_decay: ScalarOrSchedule | None = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = True,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """`nadam` with decoupled weight decay: `adamw` with `nesterov=True`.

        u = -learning_rate (m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay p)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf); keeps the step finite where the second moment is 0.
        eps_root: added under the root, in [0, inf).
        mu_dtype: dtype of the first moment; by default that of the parameter, at least float32.
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.
        nesterov: whether the first moment looks one step ahead.
        nu_dtype: dtype of the second moment; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: Dozat (2016), section 3; Loshchilov and Hutter (2019), algorithm 2, for the decay.
    """
    return adamw(
        *(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask),
        nesterov=nesterov,
        nu_dtype=nu_dtype,
    )
