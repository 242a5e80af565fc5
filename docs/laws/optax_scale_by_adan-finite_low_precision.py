"""optax 0.2.8: optax.scale_by_adan breaks `finite_low_precision`.

What should hold: The same in bfloat16 and float16, whose squares overflow and whose small eps is zero.

    g_t, p finite, |g_t| <= 1e15 (float16: 1e3)  =>  u_t, s_t finite

What was seen: update 0 at half is [nan, nan, nan], of finite gradients

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

tx = optax.scale_by_adan()
params = {'half': jnp.array([1.0, 1.0, 1.0], jnp.float16), 'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)}
grads = [  # one for each update
    {'half': jnp.array([0.0, 0.0, 0.0], jnp.float16), 'w': jnp.array([0.0, 0.0, 0.0], jnp.float32)},
]

def check_finite(tree, name):
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        fine = np.isfinite(np.asarray(x, np.float64)).all()
        assert fine, f"{name}{jax.tree_util.keystr(path)} is {x}"

for start in (params, jax.tree.map(jnp.zeros_like, params)):
    fresh = state = tx.init(start)
    update = jax.jit(tx.update)
    for g in grads:
        updates, state = update(g, state, start)
        check_finite(updates, "the update ")
    # What starts at infinity may stay there.
    paths = jax.tree_util.tree_leaves_with_path
    fine = {path: np.isfinite(np.asarray(x, np.float64)).all() for path, x in paths(fresh)}
    check_finite({str(path): x for path, x in paths(state) if fine.get(path, True)}, "the state ")
