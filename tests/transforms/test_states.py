"""States hold arrays of their own, of types that no update changes, weak ones neither."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradtx import optimizers
from gradtx.optimizers import presets
from tests.transforms.table import TRANSFORMS

MADE = {
    **{
        row.name: lambda row=row: row.factory(**row.claims.get("hyperparams", {}))
        for row in TRANSFORMS
    },
    **{
        f"{name} of weak numbers": lambda name=name: getattr(optimizers, name)(jnp.asarray(0.1))
        for name in ("sgd", "adam", "rmsprop", "lamb")
    },
    **{
        f"alias {name}": lambda module=module, name=name: getattr(module, name)(0.1)
        for module in (optimizers, presets)
        for name in module.__all__
        if callable(getattr(module, name))
    },
}
HEAVY = [name for name in MADE if name.startswith("alias")]
PARAMS = {
    "weak": {"a": jnp.full((2, 3), 0.5), "b": jnp.full(3, 0.5)},
    "numpy": {"a": np.full((2, 3), 0.5, np.float32), "b": np.ones(3, np.float32)},
    "bfloat16": {"a": jnp.ones((2, 3), jnp.bfloat16), "b": jnp.ones(3, jnp.bfloat16)},
}


def types(tree):
    shape = lambda x: (x.shape, x.dtype, x.weak_type)
    return jax.tree.map(shape, jax.eval_shape(lambda: tree))


def addresses(tree):
    arrays = [x for x in jax.tree.leaves(tree) if x.size and not is_key(x)]
    return [jnp.asarray(x).unsafe_buffer_pointer() for x in arrays]


def is_key(x):
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def check(name):
    for params in PARAMS.values():
        tx = optax.with_extra_args_support(MADE[name]())
        state = tx.init(params)
        found = addresses((params, state))
        assert len(set(found)) == len(found), "two of the arrays are one, and can't be donated"
        grads = jax.tree.map(jnp.asarray, params)
        _, new = jax.eval_shape(tx.update, grads, state, params)
        assert types(state) == jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), new)


@pytest.mark.parametrize("name", [name for name in MADE if name not in HEAVY])
def test_a_state_is_its_own_and_keeps_its_types(name):
    check(name)


@pytest.mark.thorough
@pytest.mark.parametrize("name", HEAVY)
def test_the_state_of_an_alias_is_its_own_and_keeps_its_types(name):
    check(name)
