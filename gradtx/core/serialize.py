"""A state as plain data, and back: nested dicts of NumPy arrays, numbers and strings.

What `to_dict` returns can be written by anything, JSON apart from its arrays, NumPy's `savez`
after flattening, msgpack, and read without unpickling. `from_dict` needs a state to fill, from
`tx.init(params)` or `jax.eval_shape(tx.init, params)`, and checks every name, shape and dtype.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.hyperparams import Origin
from gradtx.core.state import TransformState, with_count
from gradtx.core.tree import dtype_of, path_name, shape_of

VERSION = 1


def to_dict(state: Any) -> dict[str, Any]:
    """`state` as `{"version": 1, "state": nested dicts}`.

    A container becomes a dict by field, key or position (as a string); an array a NumPy array;
    bfloat16, other dtypes that NumPy lacks and typed PRNG keys a dict of their name and their bits.
    Optax's states inside are stored by their fields. The arrays are copied to the host.

    >>> import gradtx
    >>> data = to_dict(gradtx.sgd(0.1).init(jnp.ones(2)))
    >>> data["version"], data["state"]["name"], int(data["state"]["count"])
    (1, 'chain', 0)

    Args:
        state: any pytree of arrays, numbers and strings: a state, or a whole training state.

    Raises:
        TypeError: for a leaf that is no array, number, string or None, with its path.
    """
    return {"version": VERSION, "state": _pack(state, "state")}


def from_dict(data: Mapping[str, Any], like: Any) -> Any:
    """The state that `to_dict` made `data` of, in the structure of `like`.

    Arrays get the sharding of their counterpart in `like`, if it spans several devices.

    Args:
        data: what `to_dict` returned.
        like: a state of the same transform for the same parameters, of arrays or of
            `jax.ShapeDtypeStruct`s.

    Raises:
        ValueError: if `data` has another version or does not fit `like`, with the path.
    """
    version = data.get("version") if isinstance(data, Mapping) else None
    if version != VERSION:
        raise ValueError(
            f"from_dict: `data` must be what to_dict of version {VERSION} returned; got"
            f" {'version ' + repr(version) if version is not None else type(data).__name__}. Save"
            " it again with this gradtx, or load it with the one that wrote it."
        )
    return _unpack(data.get("state"), like, "state")


def _children(node: Any) -> tuple[dict[str, Any], Any] | None:
    """A container's children by name, and the means to rebuild it; None for a leaf."""
    flat, treedef = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    if any(path == () for path, _ in flat):
        return None
    named = {path_name(path): child for path, child in flat}
    if len(named) != len(flat):
        raise ValueError(
            f"to_dict: the keys of a container must differ as text; got {sorted(named)} for"
            f" {len(flat)} children. Use keys of one type."
        )
    return named, treedef


def _pack(node: Any, path: str) -> Any:
    if isinstance(node, TransformState):
        counter = {} if node.count is None else {"count": np.asarray(node.count)}
        values = {
            key: _pack_value(origin, node.own_hyperparams[key])
            for key, origin in node.info.hyperparams
        }
        slots = _pack(node.slots, f"{path}/slots")
        return {"name": node.name} | counter | {"hyperparams": values, "slots": slots}
    if node is None or isinstance(node, bool | int | float | str):
        return node
    found = _children(node)
    if found:
        return {name: _pack(child, f"{path}/{name}") for name, child in found[0].items()}
    return _pack_array(node, path)


def _pack_value(origin: Any, value: Any) -> dict[str, Any]:
    """A hyperparameter with what decides it, or a dict of them by group."""
    if isinstance(origin, Origin):
        return {"value": np.asarray(value), "source": origin.source}
    return {label: _pack_value(inner, value[label]) for label, inner in origin}


def _pack_array(leaf: Any, path: str) -> Any:
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
        raise TypeError(
            f"to_dict: every leaf must be an array, a number, a string or None; got"
            f" {type(leaf).__name__} at {path}. Take it out of the state."
        )
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        key: Any = leaf
        data = np.asarray(jax.random.key_data(key))
        return {"prng": str(jax.random.key_impl(key)), "bits": data}
    array = np.asarray(leaf)
    if array.dtype.kind != "V" and array.dtype.isbuiltin == 1:
        return array
    return {"dtype": array.dtype.name, "bits": array.view(f"uint{8 * array.dtype.itemsize}")}


def _unpack(data: Any, like: Any, path: str) -> Any:
    if isinstance(like, TransformState):
        _same(
            path, "a state of", data.get("name") if isinstance(data, Mapping) else None, like.name
        )
        counter = [] if like.count is None else ["count"]
        _same_keys(path, data, ["name", *counter, "hyperparams", "slots"])
        return _unpack_state(data, like, path)
    if like is None or isinstance(like, bool | int | float | str):
        return data
    found = None if isinstance(like, jax.ShapeDtypeStruct) else _children(like)
    if found:
        named, treedef = found
        _same_keys(path, data, list(named))
        return treedef.unflatten(
            [_unpack(data[name], child, f"{path}/{name}") for name, child in named.items()]
        )
    return _unpack_array(data, like, path)


def _unpack_state(data: Any, like: TransformState, path: str) -> TransformState:
    values, where = data["hyperparams"], f"{path}/hyperparams"
    origins = dict(like.info.hyperparams)
    _same_keys(where, values, list(origins))
    own = {
        key: _unpack_value(values[key], origin, like.own_hyperparams[key], f"{where}/{key}")
        for key, origin in origins.items()
    }
    slots = _unpack(data["slots"], like.slots, f"{path}/slots")
    new = replace(like, own_hyperparams=own, slots=slots)
    if like.count is None:
        return new
    return with_count(new, _unpack(data["count"], like.count, f"{path}/count"))


def _unpack_value(data: Any, origin: Any, like: Any, path: str) -> Any:
    if not isinstance(origin, Origin):
        _same_keys(path, data, [label for label, _ in origin])
        return {
            label: _unpack_value(data[label], inner, like[label], f"{path}/{label}")
            for label, inner in origin
        }
    _same_keys(path, data, ["value", "source"])
    _same(path, "a hyperparameter given as", data["source"], origin.source)
    return _unpack(data["value"], like, path)


def _unpack_array(data: Any, like: Any, path: str) -> Any:
    if isinstance(data, Mapping):
        if "prng" in data:
            return jax.random.wrap_key_data(jnp.asarray(data["bits"]), impl=data["prng"])
        if "dtype" in data:
            data = np.asarray(data["bits"]).view(jnp.dtype(data["dtype"]))
    if not isinstance(data, np.ndarray | np.generic | jax.Array | int | float):
        _same(path, "an array or", type(data).__name__, "a number")
    array = np.asarray(data)
    _same(path, "shape", array.shape, shape_of(like))
    _same(path, "dtype", array.dtype.name, dtype_of(like).name)
    if isinstance(like, np.ndarray):
        return array
    sharding = getattr(like, "sharding", None)
    spread = sharding is not None and len(sharding.device_set) > 1
    return jax.device_put(array, sharding) if spread else jnp.array(array)


def _same(path: str, what: str, got: Any, want: Any) -> None:
    if got != want:
        raise ValueError(
            f"from_dict: {path} must be {what} {want}; got {got}. Build the transform with the"
            " settings, and for the parameters, that the state was saved with."
        )


def _same_keys(path: str, data: Any, want: list[str]) -> None:
    got = sorted(data) if isinstance(data, Mapping) else type(data).__name__
    _same(path, "a dict of", got, sorted(want))
