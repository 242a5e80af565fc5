"""aura-optax 0.1.0: aura_optax.muon_aura breaks `donate_safe`.

What should hold: No two leaves of (params, state) share a buffer, so both can be donated to a step.

    buffer(x) = buffer(y)  =>  x is y,  for leaves x, y of (p, init(p))

What was seen: state/2/zeta_ema/b and state/2/previous_direction/b share one buffer

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import aura_optax
import optax

tx = aura_optax.muon_aura(learning_rate=0.1)
params = {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)}
grads = [  # one for each update
    {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)},
]

def step(params, state, g):
    updates, state = tx.update(g, state, params)
    return jax.tree.map(lambda p, u: (p + u).astype(p.dtype), params, updates), state


jax.jit(step, donate_argnums=(0, 1))(params, tx.init(params), grads[0])
