"""aura-optax 0.1.0: aura_optax.muon_aura breaks `zero_size_leaves`.

What should hold: A leaf without elements is updated to one, and leaves the others finite.

    shape(p_i) = (0, n)  =>  shape(u_i) = (0, n),  and u is finite

What was seen: raised ZeroDivisionError: division by zero

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import numpy as np
import aura_optax
import optax

tx = aura_optax.muon_aura(learning_rate=0.1)
params = {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)}
grads = [  # one for each update
    {'b': jnp.array([1.0, 1.0, 1.0], jnp.float32), 'w': jnp.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]], jnp.float32)},
]

def check_finite(tree, name):
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        fine = np.isfinite(np.asarray(x, np.float64)).all()
        assert fine, f"{name}{jax.tree_util.keystr(path)} is {x}"

empty = lambda tree: {"full": tree, "none": jnp.zeros((0, 3)), "nil": jnp.zeros(0)}
updates, _ = tx.update(empty(grads[0]), tx.init(empty(params)), empty(params))
check_finite(updates, "the update ")
assert updates["none"].shape == (0, 3) and updates["nil"].shape == (0,)
