"""optax 0.2.8: optax.sm3 breaks `finite`.

What should hold: Finite gradients give finite updates and a finite state.

    g_t, p finite, |g_t| <= 1e15  =>  u_t, s_t finite

What was seen: raised IndexError: list index out of range

With JAX 0.10.2. It ends with an error as long as this is so.
"""
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

@partial(jax.tree_util.register_dataclass, data_fields=["kernel", "bias"], meta_fields=[])
@dataclass
class Layer:
    kernel: Any
    bias: Any

tx = optax.sm3(learning_rate=0.1)
params = {'layers': [Layer(kernel=jnp.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], jnp.float32), bias=jnp.array([1.0, 1.0, 1.0], jnp.float32)), {}], 'scale': (jnp.array(1.0, jnp.float32),)}
grads = [  # one for each update
    {'layers': [Layer(kernel=jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], jnp.float32), bias=jnp.array([0.0, 0.0, 0.0], jnp.float32)), {}], 'scale': (jnp.array(0.0, jnp.float32),)},
]

def check_finite(tree, name):
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        fine = np.isfinite(np.asarray(x, np.float64)).all()
        assert fine, f"{name}{jax.tree_util.keystr(path)} is {x}"

for start in (params, jax.tree.map(jnp.zeros_like, params)):
    fresh = state = tx.init(start)
    update = jax.jit(tx.update)
    for g in grads:
        updates, state = update(g, state, start)
        check_finite(updates, "the update ")
    # What starts at infinity may stay there.
    paths = jax.tree_util.tree_leaves_with_path
    fine = {path: np.isfinite(np.asarray(x, np.float64)).all() for path, x in paths(fresh)}
    check_finite({str(path): x for path, x in paths(state) if fine.get(path, True)}, "the state ")
