"""optax 0.2.8: optax.flatten breaks `updates_match_gradients`.

What should hold: An update has the tree, the shapes and the dtypes of the gradient.

    structure(u) = structure(g)        shape(u_i) = shape(g_i)        dtype(u_i) = dtype(g_i)

What was seen: updates is float32[3] at 1, gradients bfloat16[3]

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import optax

tx = optax.flatten(optax.sgd(0.1))
params = (jnp.array([1.0, 1.0, 1.0], jnp.float32), jnp.array([1.0, 1.0, 1.0], jnp.bfloat16))
grads = [  # one for each update
    (jnp.array([1.0, 1.0, 1.0], jnp.float32), jnp.array([1.0, 1.0, 1.0], jnp.bfloat16)),
]

def spec(tree):
    """The shape and dtype of every leaf, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in leaves}

updates, _ = jax.eval_shape(tx.update, grads[0], tx.init(params), params)
assert spec(updates) == spec(grads[0]), f"updates {spec(updates)}, gradients {spec(grads[0])}"
