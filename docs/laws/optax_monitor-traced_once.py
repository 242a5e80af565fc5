"""optax 0.2.8: optax.monitor breaks `traced_once`.

What should hold: Updates that differ in values alone are traced, and so compiled, once.

    traces(jit(update)) = 1  over any run

What was seen: 2 traces in 3 updates

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

traces = []


@jax.jit
def update(g, state):
    traces.append(None)
    return tx.update(g, state, params)


state = tx.init(params)
for g in grads:
    _, state = update(g, state)
assert len(traces) == 1, f"{len(traces)} traces in {len(grads)} updates"
