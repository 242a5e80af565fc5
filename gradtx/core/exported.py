"""The form of a state in a program that `jax.export` writes: what of it is no array, as JSON."""

import json
from typing import Any

from jax import export

from gradtx.core.hyperparams import Interval, Origin
from gradtx.core.state import StateInfo, TransformState


def _to_bytes(aux: Any) -> bytes:
    """A `StateInfo`, in a tuple as JAX has it, as bytes."""
    (info,) = aux
    pairs = [[key, _packed(origin)] for key, origin in info.hyperparams]
    return json.dumps([info.name, pairs]).encode()


def _from_bytes(data: bytes | bytearray) -> Any:
    name, pairs = json.loads(data)
    return (StateInfo(name, tuple((key, _unpacked(origin)) for key, origin in pairs)),)


def _packed(origin: Any) -> Any:
    """An `Origin` as a dict, or by group as pairs."""
    if isinstance(origin, Origin):
        return {"source": origin.source, "domain": origin.domain}
    return [[group, _packed(inner)] for group, inner in origin]


def _unpacked(data: Any) -> Any:
    if isinstance(data, dict):
        return Origin(data["source"], Interval(*data["domain"]))
    return tuple((group, _unpacked(inner)) for group, inner in data)


# At import, since a program that was written is read before any state is made.
export.register_pytree_node_serialization(
    TransformState,
    serialized_name="gradtx.TransformState",
    serialize_auxdata=_to_bytes,
    deserialize_auxdata=_from_bytes,
)
