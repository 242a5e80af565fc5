"""rollfast 0.2.1: rollfast.kron breaks `extra_args_ignored`.

What should hold: An extra argument meant for another transformation in the chain is passed over.

    update(g, s, p, unknown=x) = update(g, s, p)

What was seen: raised TypeError: scale_by_kron.<locals>.update_fn() got an unexpected keyword
argument 'unknown_to_everyone'

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import optax
import rollfast

tx = rollfast.kron(learning_rate=0.1)
params = {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)}
grads = [  # one for each update
    {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)},
]

aware = optax.with_extra_args_support(tx)
aware.update(grads[0], aware.init(params), params, unknown_to_everyone=1.0)
