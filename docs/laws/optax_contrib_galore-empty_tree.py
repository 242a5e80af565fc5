"""optax 0.2.8: optax.contrib.galore breaks `empty_tree`.

What should hold: A tree without leaves passes through.

    update({}, init({}), {}) = {}, s'

What was seen: raised ValueError: Too few leaves for PyTreeDef; expected 2, got 0

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import optax

tx = optax.contrib.galore(rank=2, learning_rate=0.1)
params = {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)}
grads = [  # one for each update
    {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)},
]

updates, _ = tx.update({}, tx.init({}), {})
assert updates == {}, updates
