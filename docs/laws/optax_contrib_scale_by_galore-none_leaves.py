"""optax 0.2.8: optax.contrib.scale_by_galore breaks `none_leaves`.

What should hold: `None` in parameters and gradients alike is no leaf: it stays, and changes nothing else.

    update({a: g, b: None}, init({a: p, b: None}), {a: p, b: None})
        = {a: update(g, ...), b: None}

What was seen: raised AttributeError: 'NoneType' object has no attribute 'dtype'

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import optax

tx = optax.contrib.scale_by_galore(rank=2)
params = {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)}
grads = [  # one for each update
    {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)},
    {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)},
]

inside = lambda tree: {"a": tree, "b": None}
updates, _ = tx.update(inside(grads[0]), tx.init(inside(params)), inside(params))
assert updates["b"] is None, updates
