"""Muon for matrices, with Adam for the rest."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.chain import chain
from gradtx.core.hyperparams import REAL, ScalarOrSchedule
from gradtx.core.layout import DimensionNumbers, over_numbers
from gradtx.core.partition import Mask, partition_as
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.core.tree import PyTree
from gradtx.kinds import Count, Dtype, checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.adam import scale_by_adam
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.muon import (
    QUINTIC,
    Coefficients,
    Preconditioning,
    scale_by_muon,
    scale_by_shape,
)


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
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: ScalarOrSchedule = 0.9,
    adam_b2: ScalarOrSchedule = 0.999,
    adam_eps_root: ScalarOrSchedule = 0.0,
    adam_weight_decay: ScalarOrSchedule | None = 0.0,
    adam_learning_rate: ScalarOrSchedule | None = None,
    muon_weight_dimension_numbers: DimensionNumbers | None = None,
    consistent_rms: ScalarOrSchedule | None = None,
    is_matrix: Callable[[Any], bool] | None = None,
) -> GradientTransformationExtraArgs:
    """Muon: orthogonal momentum for matrices, Adam for all other leaves.

        u = -learning_rate (scale_by_shape(orthogonalize(m)) + weight_decay p)      matrices
        u = -learning_rate (m_hat / (sqrt(v_hat) + eps) + adam_weight_decay p)      other leaves

    Matrices are by default the leaves of two dimensions. For a convolutional net pass
    `is_matrix=lambda leaf: leaf.ndim >= 2`; a kernel is then the matrix of its window and inputs by
    its outputs. Dimension numbers say it leaf by leaf: which leaves are matrices at all, with
    `None` for those that are not (embeddings and the last layer, as the authors advise), and which
    axes are inputs and outputs, for stacked layers, too. Both halves follow `learning_rate`, unless
    Adam has its own.

    The parameters are those of `optax.contrib.muon`.

    >>> import optax
    >>> params = {"embed": jnp.ones((7, 4)), "layers": jnp.ones((3, 4, 4))}
    >>> stacked = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
    >>> numbers = {"embed": None, "layers": stacked}
    >>> tx = muon(0.02, muon_weight_dimension_numbers=numbers)
    >>> updates, state = tx.update(params, tx.init(params), params)

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        ns_coeffs: the three coefficients of a Newton-Schulz step, or such a triple for each step,
            or the name of such: "standard", "dion".
        ns_steps: number of Newton-Schulz steps, where `ns_coeffs` is one triple.
        beta: decay of the matrices' momentum `mu`, in [0, 1).
        eps: added to the matrices' norms and to the root of Adam's second moment, in [0, inf).
        weight_decay: decoupled decay of the matrices, finite, which the learning rate
            multiplies too; `None` leaves it out.
        weight_decay_mask: which matrices decay: a tree of bools like the parameters or a prefix of
            it, a function from the parameters to one, or a pattern of paths; all by default.
        mu_dtype: dtype of `mu` in both halves; by default that of the parameter, at least float32.
        nesterov: whether the first moment of both halves looks one step ahead.
        adaptive: whether a matrix's step is as long as the dual norm of its momentum.
        preconditioning: what a matrix is divided by before the steps: "frobenius", "spectral",
            "aol" or "schatten"; see `gradtx.transforms.muon.orthogonalize`.
        adam_b1: `b1` of `scale_by_adam` for the other leaves, in [0, 1).
        adam_b2: `b2` of `scale_by_adam` for the other leaves, in [0, 1).
        adam_eps_root: `eps_root` of `scale_by_adam` for the other leaves, in [0, inf).
        adam_weight_decay: decoupled decay of the other leaves, finite; `None` leaves it out.
        adam_learning_rate: learning rate of the other leaves, finite; by default
            `learning_rate`.
        muon_weight_dimension_numbers: which leaves are matrices, and of which axes: one
            `optax.contrib.MuonDimensionNumbers`, a tree of them and of `None` like the parameters
            or a prefix of it, or a function from the parameters to one.
        consistent_rms: root mean square of a step before the learning rate, in [0, inf), in place
            of the factor of `scale_by_shape` that depends on the shape alone; 0.2 is Adam's size.
        is_matrix: function from a leaf to whether Muon moves it, where there are no dimension
            numbers; by default whether it has two dimensions.

    Raises:
        ValueError: if a number lies outside its interval, `ns_coeffs` are no triples, or there are
            both dimension numbers and `is_matrix`; on `update`, for a leaf of less than two
            dimensions, or without `params` although there is weight decay.

    Source: Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks".
    """
    numbers = muon_weight_dimension_numbers
    if numbers is not None and is_matrix is not None:
        raise ValueError(
            "muon: either `muon_weight_dimension_numbers` or `is_matrix` must say which leaves are"
            " matrices; got both. Leave one of them out."
        )
    matrices = (
        scale_by_muon(
            *(ns_coeffs, ns_steps, beta, eps, mu_dtype),
            nesterov=nesterov,
            adaptive=adaptive,
            preconditioning=preconditioning,
            weight_dimension_numbers=numbers,
        ),
        scale_by_shape(consistent_rms, weight_dimension_numbers=numbers),
        *decayed(weight_decay, weight_decay_mask),
    )
    others = (
        scale_by_adam(adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, nesterov=nesterov),
        *decayed(adam_weight_decay),
    )

    def labels(params: PyTree) -> PyTree:
        name = lambda yes: "muon" if yes else "adam"
        if numbers is not None:
            return over_numbers("muon", lambda said, _: name(said is not None), numbers, params)
        matrix = is_matrix or (lambda leaf: jnp.ndim(leaf) == 2)
        return jax.tree.map(lambda leaf: name(matrix(leaf)), params)

    if adam_learning_rate is None:
        both = {"muon": chain(*matrices), "adam": chain(*others)}
        after, rate = scale_by_learning_rate(learning_rate), (learning_rate, REAL)
        return partition_as("muon", both, labels, after=after, learning_rate=rate)
    both = {
        "muon": chain(*matrices, scale_by_learning_rate(learning_rate)),
        "adam": chain(*others, scale_by_learning_rate(adam_learning_rate)),
    }
    return partition_as("muon", both, labels)
