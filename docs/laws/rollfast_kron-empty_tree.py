"""rollfast 0.2.1: rollfast.kron breaks `empty_tree`.

What should hold: A tree without leaves passes through.

    update({}, init({}), {}) = {}, s'

What was seen: raised IndexError: list index out of range

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import rollfast

tx = rollfast.kron(learning_rate=0.1)
params = {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)}
grads = [  # one for each update
    {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)},
]

updates, _ = tx.update({}, tx.init({}), {})
assert updates == {}, updates
