"""optax 0.2.8: optax.contrib.sam breaks `extra_args_ignored`.

What should hold: An extra argument meant for another transformation in the chain is passed over.

    update(g, s, p, unknown=x) = update(g, s, p)

What was seen: raised TypeError: sam.<locals>.transparent_update_fn() got an unexpected keyword
argument 'unknown_to_everyone'

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import optax

tx = optax.contrib.sam(optax.sgd(0.1), optax.chain(optax.contrib.normalize(), optax.sgd(0.05)), sync_period=2)
params = {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)}
grads = [  # one for each update
    {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)},
]

aware = optax.with_extra_args_support(tx)
aware.update(grads[0], aware.init(params), params, unknown_to_everyone=1.0)
