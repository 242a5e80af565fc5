"""SOAP: Adam in the eigenbases of Shampoo."""

from gradtx.core.chain import chain
from gradtx.core.hyperparams import OneValue, ScalarOrSchedule
from gradtx.core.partition import Mask
from gradtx.core.transformation import GradientTransformationExtraArgs
from gradtx.kinds import Count, Dtype, checked
from gradtx.optimizers.terms import decayed
from gradtx.transforms.learning_rate import scale_by_learning_rate
from gradtx.transforms.soap import scale_by_soap


@checked
def soap(
    learning_rate: ScalarOrSchedule,
    b1: OneValue = 0.95,
    b2: OneValue = 0.95,
    eps: OneValue = 1e-8,
    weight_decay: ScalarOrSchedule | None = 1e-2,
    mask: Mask | None = None,
    *,
    shampoo_beta: OneValue | None = None,
    precondition_frequency: Count = 10,
    max_precond_dim: Count = 10_000,
    merge_dims: bool = False,
    precondition_1d: bool = False,
    correct_bias: bool = True,
    mu_dtype: Dtype | None = None,
    nu_dtype: Dtype | None = None,
) -> GradientTransformationExtraArgs:
    """SOAP: Adam in the slowly changing eigenbases of Shampoo, with decoupled weight decay.

        u = -learning_rate (scale_by_soap(g) + weight_decay p)

    The first update moves nothing but by weight decay. The state of a matrix of m by n has
    8 m n + 8 (m^2 + n^2) bytes in float32; Adam's has 8 m n.

    Args:
        learning_rate: factor of the step, finite; a number, a schedule or a JAX scalar, like
            all that have an interval.
        b1: decay of the momentum, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added to the root, in [0, inf).
        weight_decay: decoupled decay, finite, which the learning rate multiplies too; `None`
            leaves it out.
        mask: where to decay: a tree of bools like the parameters or a prefix of it, a function from
            the parameters to one, or a pattern of paths; everywhere by default.
        shampoo_beta: decay of the matrices whose eigenbases are used, in [0, 1); by default `b2`.
        precondition_frequency: updates from one change of the bases to the next.
        max_precond_dim: length of the longest dimension that is rotated.
        merge_dims: whether neighboring dimensions are taken for one as long as that is not longer
            than `max_precond_dim`.
        precondition_1d: whether vectors are rotated too.
        correct_bias: whether the moments are corrected for their start from 0.
        mu_dtype: dtype of the momentum; by default that of the parameter, at least float32.
        nu_dtype: dtype of the second moment; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval; on `update`, without `params` though
            there is `weight_decay`.

    Source: Vyas et al. (2024), "SOAP: improving and stabilizing Shampoo using Adam", algorithms 3
    and 4, and the authors' code, which decays after the step where this does before it.
    """
    return chain(
        scale_by_soap(
            b1,
            b2,
            eps,
            shampoo_beta=shampoo_beta,
            precondition_frequency=precondition_frequency,
            max_precond_dim=max_precond_dim,
            merge_dims=merge_dims,
            precondition_1d=precondition_1d,
            correct_bias=correct_bias,
            mu_dtype=mu_dtype,
            nu_dtype=nu_dtype,
        ),
        *decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
