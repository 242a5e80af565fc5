"""optax 0.2.8: optax.flatten breaks `empty_tree`.

What should hold: A tree without leaves passes through.

    update({}, init({}), {}) = {}, s'

What was seen: raised ValueError: Need at least one array to concatenate.

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import optax

tx = optax.flatten(optax.sgd(0.1))
params = {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)}
grads = [  # one for each update
    {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)},
]

updates, _ = tx.update({}, tx.init({}), {})
assert updates == {}, updates
