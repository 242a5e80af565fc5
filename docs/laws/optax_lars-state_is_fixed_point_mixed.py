"""optax 0.2.8: optax.lars breaks `state_is_fixed_point_mixed`.

What should hold: The same where gradients and parameters have different dtypes.

    dtype(g_i) != dtype(p_i)  =>  tree, shapes and dtypes of s' are those of s

What was seen: state after update is float32[3] at 3/trace, state from init bfloat16[3]

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import optax

tx = optax.lars(learning_rate=0.1)
params = jnp.array([1.0, 1.0, 1.0], jnp.bfloat16)
grads = [  # one for each update
    jnp.array([1.0, 1.0, 1.0], jnp.float32),
]

def spec(tree):
    """The shape and dtype of every leaf, by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in leaves}

state = tx.init(params)
_, after = jax.eval_shape(tx.update, grads[0], state, params)
assert spec(after) == spec(state), f"after an update {spec(after)}, from init {spec(state)}"
