"""optax 0.2.8: optax.monitor breaks `scan_equals_loop`.

What should hold: A scan over gradients gives what a Python loop gives.

    scan(update, init(p), [g_1 .. g_n]) = [u_1 .. u_n]

What was seen: raised TypeError: scan body function carry input and carry output must have the
same pytree structure, but they differ:

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import optax

tx = optax.monitor({"norm": optax.tree.norm})
params = {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)}
grads = [  # one for each update
    {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)},
    {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)},
    {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)},
]

stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *grads)
jax.lax.scan(lambda state, g: tx.update(g, state, params)[::-1], tx.init(params), stacked)
