"""optax 0.2.8: optax.contrib.normalize breaks `zero_is_fixed_point`.

What should hold: Without gradients from the start, nothing moves.

    g_1 = .. = g_n = 0  =>  u_1 = .. = u_n = 0

What was seen: update 0 at w is [nan, nan, nan], of zero gradients

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

tx = optax.contrib.normalize()
params = {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)}
grads = [  # one for each update
    {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)},
]

zeros = jax.tree.map(jnp.zeros_like, params)
updates, _ = tx.update(zeros, tx.init(params), params)
assert all(not np.any(np.asarray(u)) for u in jax.tree.leaves(updates)), updates
