"""A state as arrays with names, which is what a checkpoint holds, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradtx.checkpoint.errors import CheckpointError
from gradtx.checkpoint.orbax import can_write
from gradtx.core.state import TransformState
from gradtx.core.tree import path_name

Leaves = dict[str, Any]
PLAIN = (np.ndarray, np.memmap)  # other kinds have more than values, such as a mask


def leaves_of(state: Any) -> Leaves:
    """The leaves of `state` by path: `params/Dense_0/kernel`, `opt_state/slots/0/...`.

    Raises:
        TypeError: for a leaf that is no array, with its path.
        ValueError: if two paths are the same as text.
    """
    leaves = {}
    for path, leaf in jax.tree.leaves_with_path(state):
        name = path_name(path)
        if name in leaves:
            raise ValueError(
                f"checkpoint: the paths of all leaves must differ as text; got {name!r} twice."
                " Rename a key, and use keys without slashes."
            )
        leaves[name] = leaf
        if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
            raise TypeError(
                f"checkpoint: every leaf must be an array; got {type(leaf).__name__} at {name}."
                " Make it one, or take it out of the state."
            )
    return leaves


def check_leaves(leaves: Leaves) -> None:
    """Require that all leaves can be saved, and restored as they are.

    Raises:
        TypeError, ValueError: naming the first that can't.
    """
    for name, leaf in leaves.items():
        where = f"checkpoint: {name!r} must be"
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{where} a path that UTF-8 can write; got another. Rename its keys."
            ) from None
        if isinstance(leaf, Tracer):
            raise TypeError(
                f"{where} an array with values; got one that is traced. Save outside of jit."
            )
        if not isinstance(leaf, jax.Array | np.generic) and type(leaf) not in PLAIN:
            raise TypeError(
                f"{where} an array of JAX or NumPy; got {type(leaf).__name__}. Make it one."
            )
        if isinstance(leaf, jax.Array) and leaf.is_deleted():
            raise ValueError(
                f"{where} an array with values; got one that was deleted, as by donating it. Save"
                " what the step returned."
            )
        if not is_key(leaf) and not can_write(leaf.dtype):
            raise TypeError(
                f"{where} of a dtype that Orbax can write; got {leaf.dtype}. Convert it, for"
                " example to int8 or float32."
            )


def kinds_of(state: Any, prefix: tuple[Any, ...] = ()) -> dict[str, str]:
    """The transformation or class of every container with a name of its own, by path.

    Two optimizers may have the same leaves; these tell them apart.
    """
    children, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda x: x is not state)
    if any(path == () for path, _ in children):  # a leaf
        return {}
    plain = type(state) in (dict, list, tuple) or isinstance(state, Mapping)
    kind = state.name if isinstance(state, TransformState) else type(state).__name__
    found = {} if plain else {path_name(prefix): kind}
    for path, child in children:
        found |= kinds_of(child, (*prefix, *path))
    return found


def with_leaves(state: Any, leaves: Mapping[str, Any]) -> Any:
    """`state` with the leaves that `leaves` names in place of its own."""
    return jax.tree.map_with_path(lambda path, x: leaves.get(path_name(path), x), state)


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed PRNG keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def form_of(state: Any) -> dict[str, Any]:
    """The kinds of `state` and the specs of its leaves, by path: what a restore compares."""
    return kinds_of(state) | {name: spec_of(leaf) for name, leaf in leaves_of(state).items()}


def spec_of(leaf: Any) -> dict[str, Any]:
    """A leaf's shape and dtype, as JSON has them; of a typed key also how it is implemented."""
    spec = {"shape": list(leaf.shape), "dtype": str(_native(leaf.dtype))}
    if is_key(leaf) and isinstance(leaf, jax.Array):
        spec["impl"] = str(jax.random.key_impl(leaf))
    return spec


def copy_leaf(leaf: Any) -> Any:
    """A copy whose buffer no later step is given, with the same sharding; of a key its bits."""
    if isinstance(leaf, np.ndarray | np.generic):
        return np.array(leaf, _native(leaf.dtype))
    return jnp.copy(jax.random.key_data(leaf) if is_key(leaf) else leaf)


def _native(dtype: Any) -> Any:
    """The dtype in this machine's order of bytes, in which all is saved."""
    return dtype.newbyteorder("=") if isinstance(dtype, np.dtype) else dtype


def read_target(leaf: Any) -> Any:
    """What Orbax is to read for `leaf`: an array of its shape, dtype and sharding."""
    if isinstance(leaf, np.ndarray | np.generic):
        return np.asarray(leaf, _native(leaf.dtype))
    sharding = getattr(leaf, "sharding", None)
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    bits = jax.eval_shape(jax.random.key_data, _abstract(leaf)) if is_key(leaf) else leaf
    return jax.ShapeDtypeStruct(bits.shape, bits.dtype, sharding=sharding)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def as_leaf(read: Any, like: Any, impl: str | None) -> Any:
    """What was read, of the kind that `like` is: a key, or an array that is bound to no device."""
    if isinstance(like, np.ndarray):
        return np.asarray(read, like.dtype)
    if isinstance(like, np.generic):
        return np.asarray(read)[()]
    if not getattr(like, "committed", getattr(like, "sharding", None) is not None):
        read = jnp.array(np.asarray(read))
    return jax.random.wrap_key_data(read, impl=impl) if is_key(like) else read


def host_values(leaf: Any) -> np.ndarray | None:
    """All values of a leaf on the host; None if this process holds only some of them."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return np.asarray(leaf.addressable_data(0)) if leaf.is_fully_replicated else None
    return np.asarray(leaf)


def check_same(
    where: str, saved: Mapping[str, Any], like: Mapping[str, Any], *, remedy: str
) -> None:
    """Require that the specs in a checkpoint are those of the state to restore into.

    Of leaves a spec has the shape and dtype, of a container it is its kind.

    Raises:
        CheckpointError: naming the leaves that differ, with shapes and dtypes.
    """
    text = lambda spec: spec if isinstance(spec, str) else f"{spec['dtype']}{spec['shape']}"
    saved, here = ({name: text(spec) for name, spec in x.items()} for x in (saved, like))
    problems = [
        f"{name} is {saved[name]} in the checkpoint and {spec} here"
        for name, spec in here.items()
        if name in saved and saved[name] != spec
    ]
    problems += [f"{name} is only in the checkpoint" for name in saved if name not in here]
    problems += [f"{name} is not in the checkpoint" for name in here if name not in saved]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(
            f"{where} must have the form of the state to restore; got"
            f" {len(problems)} that differ: {'; '.join(problems[:3])}{more}. {remedy}"
        )
