"""aura-optax 0.1.0: aura_optax.adam_aura breaks `donate_safe`.

What should hold: No two leaves of (params, state) share a buffer, so both can be donated to a step.

    buffer(x) = buffer(y)  =>  x is y,  for leaves x, y of (p, init(p))

What was seen: state/1/zeta_ema/layers/0/kernel and state/1/previous_direction/layers/0/kernel
share one buffer

With JAX 0.10.2. It ends with an error as long as this is so.
"""
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import aura_optax
import optax

@partial(jax.tree_util.register_dataclass, data_fields=["kernel", "bias"], meta_fields=[])
@dataclass
class Layer:
    kernel: Any
    bias: Any

tx = aura_optax.adam_aura(learning_rate=0.1)
params = {'layers': [Layer(kernel=jnp.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], jnp.float32), bias=jnp.array([1.0, 1.0, 1.0], jnp.float32)), {}], 'scale': (jnp.array(1.0, jnp.float32),)}
grads = [  # one for each update
    {'layers': [Layer(kernel=jnp.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], jnp.float32), bias=jnp.array([1.0, 1.0, 1.0], jnp.float32)), {}], 'scale': (jnp.array(1.0, jnp.float32),)},
]

def step(params, state, g):
    updates, state = tx.update(g, state, params)
    return jax.tree.map(lambda p, u: (p + u).astype(p.dtype), params, updates), state


jax.jit(step, donate_argnums=(0, 1))(params, tx.init(params), grads[0])
