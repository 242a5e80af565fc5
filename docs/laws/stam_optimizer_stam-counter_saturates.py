"""stam-optimizer 0.1.0: stam_optimizer.stam breaks `counter_saturates`.

What should hold: A counter that reaches the end of its integer type stays there.

    count = 2^31 - 1  =>  count' = 2^31 - 1

What was seen: inner_state/count goes from 2147483647 to -2147483648

With JAX 0.10.2. It ends with an error as long as this is so.
"""

import jax
import jax.numpy as jnp
import stam_optimizer

tx = stam_optimizer.stam(learning_rate=0.1)
params = {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)}
grads = [  # one for each update
    {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)},
    {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)},
    {'w': jnp.array([1.0, 1.0, 1.0], jnp.float32)},
]

most = jnp.iinfo(jnp.int32).max
is_count = lambda x: x.shape == () and x.dtype == jnp.int32
state = jax.tree.map(lambda x: jnp.full_like(x, most) if is_count(x) else x, tx.init(params))
_, after = jax.jit(tx.update)(grads[0], state, params)
for before, x in zip(jax.tree.leaves(state), jax.tree.leaves(after)):
    assert not is_count(x) or x >= 0, f"a count goes from {before} to {x}"
