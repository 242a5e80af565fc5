"""Optax's verbs on trees, handed through; the search through states is ours.

gradtx is written in the verbs of `gradtx.core.tree`.
"""

from optax import tree as theirs
from optax.tree import (
    add,
    add_scale,
    allclose,
    batch_shape,
    bias_correction,
    cast,
    cast_like,
    clip,
    conj,
    div,
    dtype,
    full_like,
    map_params,
    max,
    min,
    mul,
    norm,
    ones_like,
    random_like,
    real,
    scale,
    size,
    split_key_like,
    sub,
    sum,
    unwrap_random_key_data,
    update_infinity_moment,
    update_moment,
    update_moment_per_elem_norm,
    vdot,
    where,
    zeros_like,
)

from gradtx.core.newer_names import newer_names
from gradtx.core.state_search import tree_get as get
from gradtx.core.state_search import tree_get_all_with_path as get_all_with_path
from gradtx.core.state_search import tree_set as set

__all__ = [
    "add",
    "add_scale",
    "allclose",
    "batch_shape",
    "bias_correction",
    "cast",
    "cast_like",
    "clip",
    "conj",
    "div",
    "dtype",
    "full_like",
    "get",
    "get_all_with_path",
    "map_params",
    "max",
    "min",
    "mul",
    "norm",
    "ones_like",
    "random_like",
    "real",
    "scale",
    "set",
    "size",
    "split_key_like",
    "sub",
    "sum",
    "unwrap_random_key_data",
    "update_infinity_moment",
    "update_moment",
    "update_moment_per_elem_norm",
    "vdot",
    "where",
    "zeros_like",
]

__getattr__ = newer_names(__name__, theirs)
