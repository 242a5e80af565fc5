"""Muon for matrices, with Adam for the rest."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.chain import chain
from gradtx.core.hyperparams import ScalarOrSchedule
from gradtx.core.partition import Mask, partition
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Count, Dtype, checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.adam import scale_by_adam
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.muon import QUINTIC, Coefficients, scale_by_muon, scale_by_shape


@checked
def muon(
    learning_rate: ScalarOrSchedule,
    ns_coeffs: Coefficients = QUINTIC,
    ns_steps: Count = 5,
    beta: ScalarOrSchedule = 0.95,
    eps: ScalarOrSchedule = 1e-8,
    weight_decay: ScalarOrSchedule | None = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: Dtype | None = None,
    *,
    nesterov: bool = True,
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps_root: ScalarOrSchedule = 0.0,
    adam_weight_decay: ScalarOrSchedule | None = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
    consistent_rms: ScalarOrSchedule | None = None,
    is_matrix: Callable[[Any], bool] = lambda leaf: jnp.ndim(leaf) == 2,
) -> GradientTransformationExtraArgs:
    """Muon: orthogonal momentum for matrices, Adam for all other leaves.

        u = -learning_rate (scale_by_shape(orthogonalize(m)) + weight_decay p)      matrices
        u = -learning_rate (m_hat / (sqrt(v_hat) + eps) + adam_weight_decay p)      other leaves

    `is_matrix` says which leaves those are: by default the two-dimensional ones. For a
    convolutional net pass `lambda leaf: leaf.ndim >= 2`; a kernel is then the matrix of its window
    and inputs by its outputs. Both halves follow `learning_rate`, unless Adam has its own.

    The parameters are those of `optax.contrib.muon`, without its preconditioning, dual-norm
    scaling and dimension numbers.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        ns_coeffs: the three coefficients of a Newton-Schulz step, or such a triple for each step.
        ns_steps: number of Newton-Schulz steps, where `ns_coeffs` is one triple.
        beta: decay of the matrices' momentum `mu`, in [0, 1).
        eps: added to the matrices' norms and to the root of Adam's second moment, in [0, inf).
        weight_decay: decoupled decay of the matrices, finite, which the learning rate
            multiplies too; `None` leaves it out.
        weight_decay_mask: which matrices decay: a tree of bools like the parameters or a prefix of
            it, or a function from the parameters to one; all by default.
        mu_dtype: dtype of `mu` in both halves; by default that of the parameter, at least float32.
        nesterov: whether the first moment of both halves looks one step ahead.
        adam_b1: `b1` of `scale_by_adam` for the other leaves, in [0, 1).
        adam_b2: `b2` of `scale_by_adam` for the other leaves, in [0, 1).
        adam_eps_root: `eps_root` of `scale_by_adam` for the other leaves, in [0, inf).
        adam_weight_decay: decoupled decay of the other leaves, finite; `None` leaves it out.
        adam_learning_rate: learning rate of the other leaves, finite; by default
            `learning_rate`.
        consistent_rms: root mean square of a step before the learning rate, in [0, inf), in place
            of the factor of `scale_by_shape` that depends on the shape alone; 0.2 is Adam's size.
        is_matrix: function from a leaf to whether Muon moves it; by default whether it has two
            dimensions.

    Raises:
        ValueError: if a number lies outside its interval or `ns_coeffs` are no triples; on
            `update`, for a leaf of less than two dimensions, or without `params` although
            there is weight decay.

    Source: Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks".
    """
    matrices = (
        scale_by_muon(ns_coeffs, ns_steps, beta, eps, mu_dtype, nesterov=nesterov),
        scale_by_shape(consistent_rms),
        *decayed(weight_decay, weight_decay_mask),
    )
    others = (
        scale_by_adam(adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, nesterov=nesterov),
        *decayed(adam_weight_decay),
    )
    label = lambda leaf: "muon" if is_matrix(leaf) else "adam"
    labels = lambda params: jax.tree.map(label, params)
    if adam_learning_rate is None:
        both = {"muon": chain(*matrices), "adam": chain(*others)}
        return chain(partition(both, labels), scale_by_learning_rate(learning_rate))
    both = {
        "muon": chain(*matrices, scale_by_learning_rate(learning_rate)),
        "adam": chain(*others, scale_by_learning_rate(adam_learning_rate)),
    }
    return partition(both, labels)
