"""Adam in the eigenbases of Shampoo."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.hyperparams import MOMENTUM, NON_NEGATIVE, UNIT, OneValue, optional
from gradtx.core.leafwise import zeros
from gradtx.core.root import root
from gradtx.core.transformation import GradientTransformationExtraArgs, transformation
from gradtx.core.tree import (
    PyTree,
    abs_sq,
    as_dtype,
    bias_correction,
    check_slot,
    compute_dtype,
    dtype_of,
    is_inexact,
    is_none,
    real_of,
    shape_of,
)
from gradtx.kinds import Count, Dtype, checked

# For each dimension of a leaf, its matrix; None where it has none.
Matrices = tuple[jax.Array | None, ...]


@checked
def scale_by_soap(
    b1: OneValue = 0.95,
    b2: OneValue = 0.95,
    eps: OneValue = 1e-8,
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
    """Run Adam where the gradients of a matrix vary along the axes: in slowly changing eigenbases.

        mu' = b1 mu + (1 - b1) g                         of a matrix; QL and QR as they were
        nu' = b2 nu + (1 - b2) (QL^T g QR)^2
        u   = QL ((QL^T mu' QR) sqrt(1 - b2^count) / (1 - b1^count) / (sqrt(nu') + eps)) QR^T
        L'  = s L + (1 - s) g g^T                        R' = s R + (1 - s) g^T g
        QL' = QR decomposition of L' QL                  every `precondition_frequency` updates

    s is `shampoo_beta`. The first update moves nothing: it starts L and R, whose eigenvectors QL
    and QR are. A step of power iteration then keeps them up to date; their columns are put in order
    of their estimated eigenvalues before it, and `nu` with them. A leaf of more dimensions has a
    matrix for each; one longer than `max_precond_dim` has none, so that a large matrix is rotated
    from one side. Without any, as vectors are by default, a leaf has Adam's update.

    `mu` and `nu` are like `params`, `nu` in the eigenbases; "factors" and "bases" hold L, R and QL,
    QR of each leaf, of at least float32. For a matrix of m by n that makes 8 m n + 8 (m^2 + n^2)
    bytes, 24 a parameter if it is square, where Adam has 8.

    On a mesh `mu` and `nu` lie where their parameter lies. Factors and bases follow `leaf_spec`: a
    device holds some of their columns, or all of small ones; XLA gathers them to decompose them.

    The bases count as constants in derivatives: that of an eigenvector is infinite where two
    eigenvalues are one. Where they are, the eigenvectors, and so the update, depend on rounding.

    Args:
        b1: decay of the momentum `mu`, in [0, 1); a number, a schedule or a JAX scalar, like all
            that have an interval.
        b2: decay of the second moment `nu`, in [0, 1).
        eps: added to the root, in [0, inf).
        shampoo_beta: decay of L and R, in [0, 1); by default `b2`.
        precondition_frequency: updates from one change of the bases to the next.
        max_precond_dim: length of the longest dimension that has a matrix.
        merge_dims: whether neighboring dimensions are taken for one as long as that is not longer
            than `max_precond_dim`, as the window of a convolution's kernel with its inputs.
        precondition_1d: whether vectors have a matrix too.
        correct_bias: whether `mu` and `nu` are corrected for their start from 0.
        mu_dtype: dtype of `mu`; by default that of the parameter, at least float32.
        nu_dtype: dtype of `nu`; by default that of the parameter, at least float32.

    Raises:
        ValueError: if a number lies outside its interval.

    Source: Vyas et al. (2024), "SOAP: improving and stabilizing Shampoo using Adam", algorithms 3
    and 4; the first update, `eps` and the bias corrections are those of the authors' code.
    """

    def merged(shape: Sequence[int]) -> tuple[int, ...]:
        return _merged(shape, max_precond_dim) if merge_dims and len(shape) > 1 else tuple(shape)

    def has_matrix(shape: Sequence[int]) -> list[bool]:
        small = math.prod(shape) > 0 and (len(shape) > 1 or precondition_1d)
        return [small and n <= max_precond_dim for n in merged(shape)]

    def matrices(params: PyTree, make: Any) -> PyTree:
        def of_leaf(p: Any) -> Matrices:
            dtype, shape = compute_dtype(p), shape_of(p)
            pairs = zip(merged(shape), has_matrix(shape), strict=True)
            return tuple([make(n, dtype) if there else None for n, there in pairs])

        return jax.tree.map(of_leaf, params)

    def init(params: PyTree) -> dict[str, Any]:
        return {
            "mu": jax.tree.map(zeros(mu_dtype), params),
            "nu": jax.tree.map(zeros(nu_dtype, real=True), params),
            "factors": matrices(params, lambda n, dtype: jnp.zeros((n, n), dtype)),
            "bases": matrices(params, lambda n, dtype: jnp.eye(n, dtype=dtype)),
        }

    def update(updates: PyTree, slots: dict[str, Any], params: PyTree, h: Any, **extra: Any):
        del params, extra
        first = h.count == 0
        due = h.count % precondition_frequency == 0
        leaves, treedef = jax.tree.flatten(updates, is_leaf=is_none)
        columns = {name: treedef.flatten_up_to(tree) for name, tree in slots.items()}
        places = [i for i, g in enumerate(leaves) if g is not None]
        us, kept = list(leaves), []
        for i in places:
            g, mine = leaves[i], {name: column[i] for name, column in columns.items()}
            us[i], mu, nu, factors = _adam(g, h, first, correct_bias, merged(g.shape), **mine)
            columns["mu"][i], columns["factors"][i] = mu, factors
            kept.append((factors, mine["bases"], nu))
        # One choice for all leaves: of the three, one is computed.
        branches = [lambda x: [_turned(*leaf) for leaf in x], lambda x: [_started(*y) for y in x]]
        keep = lambda x: [leaf[1:] for leaf in x]
        which = jnp.where(first, 2, jnp.where(due, 1, 0))
        turned = jax.lax.switch(which, [keep, *branches], kept)
        for i, (bases, nu) in zip(places, turned, strict=True):
            old = columns["nu"][i]
            columns["bases"][i] = bases
            columns["nu"][i] = as_dtype(nu.reshape(old.shape), old.dtype)
        return treedef.unflatten(us), {
            name: treedef.unflatten(column) for name, column in columns.items()
        }

    return transformation(
        "scale_by_soap",
        init,
        update,
        per_leaf=True,
        check=lambda g, slots: check_slot("scale_by_soap.update", g, "mu", slots["mu"]),
        b1=(b1, MOMENTUM),
        b2=(b2, UNIT),
        eps=(eps, NON_NEGATIVE),
        shampoo_beta=optional(shampoo_beta, UNIT),
    )


def _adam(
    g: jax.Array,
    h: Any,
    first: jax.Array,
    correct_bias: bool,
    shape: tuple[int, ...],
    *,
    mu: jax.Array,
    nu: jax.Array,
    factors: Matrices,
    bases: Matrices,
) -> tuple[jax.Array, jax.Array, jax.Array, Matrices]:
    """Adam's step in the eigenbases: the update, `mu`, `nu` in merged dimensions, the factors."""
    dtype = compute_dtype(g, mu)
    real = real_of(dtype)
    h = h.for_leaf(real, {})
    x, old_mu, old_nu = (
        as_dtype(a, b).reshape(shape) for a, b in ((g, dtype), (mu, dtype), (nu, real))
    )
    new_mu = h.b1.astype(dtype) * old_mu + (1 - h.b1).astype(dtype) * x
    new_nu = h.b2 * old_nu + (1 - h.b2) * abs_sq(_rotated(x, bases))
    u = _rotated(new_mu, bases) / (root(new_nu) + h.eps).astype(dtype)
    if correct_bias:
        count = jnp.maximum(h.count, 1).astype(real)
        correction = root(bias_correction(h.b2, count)) / bias_correction(h.b1, count)
        u = u * correction.astype(dtype)
    u = jnp.where(first, 0, _rotated(u, bases, back=True)).reshape(g.shape)
    new_mu = jnp.where(first, old_mu, new_mu).reshape(mu.shape)
    s = h.b2 if h.shampoo_beta is None else h.shampoo_beta
    new = [
        None
        if f is None
        else s.astype(f.dtype) * f + (1 - s).astype(f.dtype) * _outer(x, i, f.dtype)
        for i, f in enumerate(factors)
    ]
    out = g.dtype if is_inexact(dtype_of(g)) else dtype
    return (
        as_dtype(u, out),
        as_dtype(new_mu, mu.dtype),
        jnp.where(first, old_nu, new_nu),
        tuple(new),
    )


def _outer(x: jax.Array, i: int, dtype: Any) -> jax.Array:
    """The matrix of the products along dimension `i`, summed over all others."""
    rows = jnp.moveaxis(as_dtype(x, dtype), i, 0).reshape(x.shape[i], -1)
    return jnp.matmul(rows, rows.T.conj(), precision="highest")


def _rotated(x: jax.Array, bases: Matrices, *, back: bool = False) -> jax.Array:
    """`x` in the coordinates of the bases, or back from them."""
    for q in bases:  # each takes the first dimension and puts it last
        if q is None:
            x = jnp.moveaxis(x, 0, -1)
        else:
            q = as_dtype(q, x.dtype)
            x = jnp.tensordot(x, q.T if back else q.conj(), (0, 0), precision="highest")
    return x


def _started(factors: Matrices, bases: Matrices, nu: jax.Array) -> tuple[Matrices, jax.Array]:
    """The eigenvectors of the factors, those of the largest eigenvalues first."""
    del bases
    vectors = lambda f: jnp.linalg.eigh(jax.lax.stop_gradient(f))[1][:, ::-1]
    return tuple([None if f is None else vectors(f) for f in factors]), nu


def _turned(factors: Matrices, bases: Matrices, nu: jax.Array) -> tuple[Matrices, jax.Array]:
    """The bases after a step of power iteration, and `nu` in their order."""
    new = []
    for i, (f, q) in enumerate(zip(factors, bases, strict=True)):
        if f is None or q is None:
            new.append(None)
            continue
        f, q = jax.lax.stop_gradient((f, q))
        product = jnp.matmul(f, q, precision="highest")
        order = jnp.argsort(-jnp.sum(q.conj() * product, axis=0).real)
        nu = jnp.take(nu, order, axis=i)
        new.append(jnp.linalg.qr(product[:, order])[0])
    return tuple(new), nu


def _merged(shape: Sequence[int], longest: int) -> tuple[int, ...]:
    """Neighboring dimensions as one, from the first on, where that is not longer than `longest`."""
    out, size = [], 1
    for n in shape:
        if size * n <= longest:
            size *= n
        elif size > 1:
            out.append(size)
            size = n
        else:
            out.append(n)
    return (*out, size) if size > 1 or not out else tuple(out)
