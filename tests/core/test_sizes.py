"""How many numbers and bytes an optimizer has, by its parts and by device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest

import gradtx
from gradtx.core.sizes import size_of, state_sizes
from gradtx.parallel.mesh import make_mesh, state_shardings

PARAMS = {"a": {"w": jnp.ones((4, 4)), "bias": jnp.ones(4, jnp.bfloat16)}}
REST = "hyperparameters, counters"


class Pair(NamedTuple):
    w: jax.Array
    b: jax.Array


@pytest.mark.parametrize(
    ("tx", "moments"),
    [
        (gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adamw(0.1)), {"scale_by_adam": 40}),
        (optax.chain(optax.clip(1.0), optax.adamw(0.1)), {"ScaleByAdam": 40}),
        (gradtx.freeze(gradtx.adamw(0.1), "*w"), {"scale_by_adam": 8}),
        (
            gradtx.partition(
                {"m": gradtx.sgd(0.1, 0.9), "o": gradtx.adamw(0.1)},
                gradtx.label_by(m="*w", o="*"),
            ),
            {"m.scale_by_momentum": 16, "o.scale_by_adam": 8},
        ),
        (
            gradtx.chain(gradtx.trace(0.9), gradtx.trace(0.9)),
            {"scale_by_momentum[0]": 20, "scale_by_momentum[1]": 20},
        ),
        (optax.MultiSteps(optax.adam(0.1), 2), {"MultiSteps": 20, "ScaleByAdam": 40}),
        (gradtx.sgd(0.1), {}),
    ],
)
def test_each_part_says_what_it_remembers(tx, moments):
    state = tx.init(PARAMS)
    found = dict(state_sizes(state, PARAMS))
    assert {name: size.numbers for name, size in found.items() if name != REST} == moments
    whole = sum(x.nbytes for x in jax.tree.leaves(state))
    assert sum(size.bytes for size in found.values()) == whole
    sizes = dict(gradtx.describe(tx, jax.eval_shape(lambda: PARAMS)).sizes)
    assert sizes == found | {"parameters": (20, 72, 72), "gradients": (20, 72, 72)}
    assert gradtx.describe(tx, PARAMS, state).sizes == tuple(sizes.items())


def test_parameters_in_a_named_tuple_are_no_parts():
    params = Pair(jnp.ones((2, 3)), jnp.ones(3))
    found = dict(state_sizes(optax.adam(0.1).init(params), params))
    assert found["ScaleByAdam"].numbers == 18 and "Pair" not in found


def test_on_a_mesh_the_share_of_a_device_is_beside_the_whole():
    mesh = make_mesh(f"fsdp={jax.device_count()}")
    tx, params = gradtx.adamw(0.1), {"w": jnp.ones((64, 64)), "b": jnp.ones(64)}

    class State(NamedTuple):
        params: dict
        opt_state: object

    state = State(params, tx.init(params))
    placed = jax.device_put(state, state_shardings(state, mesh))
    parts = jax.device_count()
    each = 4 * (64 * 64 // parts + 64)
    want = {"parameters": (4160, 16640, each), "scale_by_adam": (8320, 33280, 2 * each)}
    for given in (None, placed.opt_state):
        found = gradtx.describe(tx, placed.params, given)
        assert want.items() <= dict(found.sizes).items()
        assert parts == 1 or (f"{each:,}" in str(found) and "on a device" in found._repr_html_())
    assert "on a device" not in str(gradtx.describe(tx, params))
    on_one = [x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(placed)]
    assert size_of(placed).device_bytes == sum(on_one)
