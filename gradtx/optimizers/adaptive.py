"""Adam and what does more to its moments: Nesterov's step, rectification, mixing."""

from typing import Any

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.transformation import GradientTransformation
from gradtx.optimizers.parts import Mask, decayed, optional
from gradtx.transforms.adam import scale_by_adam
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.qhadam import scale_by_qhadam
from gradtx.transforms.radam import scale_by_radam
from gradtx.transforms.weight_decay import add_l2


def adam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
    l2: ScalarOrSchedule | None = None,
    nu_dtype: Any = None,
) -> GradientTransformation:
    """Adam, without weight decay.

        u = -learning_rate m_hat / (sqrt(v_hat + eps_root) + eps)        of grad + l2 p

    Source: Kingma and Ba (2015), algorithm 1.
    """
    return chain(
        *optional(add_l2, l2),
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype),
        scale_by_learning_rate(learning_rate),
    )


def adamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule | None = 1e-4,
    mask: Mask = None,
    *,
    nesterov: bool = False,
    nu_dtype: Any = None,
) -> GradientTransformation:
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

    Source: Loshchilov and Hutter (2019), algorithm 2.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, nu_dtype=nu_dtype),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def nadam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    l2: ScalarOrSchedule | None = None,
    nu_dtype: Any = None,
) -> GradientTransformation:
    """Adam whose first moment looks one step ahead: `adam` with `nesterov=True`.

        u = -learning_rate m_hat / (sqrt(v_hat + eps_root) + eps)        of grad + l2 p
        m_hat = b1 mu' / (1 - b1^(step + 1)) + (1 - b1) g / (1 - b1^step)

    PyTorch's NAdam warms its momentum up besides, which this does not.

    Source: Dozat (2016), section 3.
    """
    return adam(
        learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov, l2=l2, nu_dtype=nu_dtype
    )


def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    mu_dtype: Any = None,
    weight_decay: ScalarOrSchedule | None = 1e-4,
    mask: Mask = None,
    *,
    nesterov: bool = True,
    nu_dtype: Any = None,
) -> GradientTransformation:
    """`nadam` with decoupled weight decay: `adamw` with `nesterov=True`.

    u = -learning_rate (m_hat / (sqrt(v_hat + eps_root) + eps) + weight_decay p)
    """
    return adamw(
        *(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask),
        nesterov=nesterov,
        nu_dtype=nu_dtype,
    )


def radam(
    learning_rate: ScalarOrSchedule,
    b1: ScalarOrSchedule = 0.9,
    b2: ScalarOrSchedule = 0.999,
    eps: ScalarOrSchedule = 1e-8,
    eps_root: ScalarOrSchedule = 0.0,
    threshold: float = 5.0,
    *,
    nesterov: bool = False,
    weight_decay: ScalarOrSchedule | None = None,
) -> GradientTransformation:
    """Rectified Adam: momentum until the second moment can be trusted.

        u = -learning_rate (r m_hat / (sqrt(v_hat) + eps)  or  m_hat)        see `scale_by_radam`

    Source: Liu et al. (2020), algorithm 2.
    """
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov),
        *decayed(weight_decay),
        scale_by_learning_rate(learning_rate),
    )


def qhadam(
    learning_rate: ScalarOrSchedule,
    *,
    b1: ScalarOrSchedule = 0.999,
    b2: ScalarOrSchedule = 0.999,
    nu1: ScalarOrSchedule = 0.7,
    nu2: ScalarOrSchedule = 1.0,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule | None = None,
    mask: Mask = None,
) -> GradientTransformation:
    """Quasi-hyperbolic Adam: moments mixed with the gradient of this step.

        u = -learning_rate ((1 - nu1) g + nu1 m_hat) / (sqrt((1 - nu2) g^2 + nu2 v_hat) + eps)
            -learning_rate weight_decay p

    Source: Ma and Yarats (2019), equation 16; the defaults are fastai's.
    """
    return chain(
        scale_by_qhadam(b1=b1, b2=b2, nu1=nu1, nu2=nu2, eps=eps),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
