"""One loop with a hook that follows a script and one that traces, compiled once for all tests."""

from functools import cache

import jax
import jax.numpy as jnp

from gradtx.loop import EVENTS, population, train_step
from gradtx.testing.fixture import CHANGES, requesting, table, tracing
from tests.loop import small

LOOP = small.make(requesting(events=EVENTS, changes=CHANGES), tracing())
CHUNK = 8
step = jax.jit(train_step, static_argnums=0)


@cache
def first_state():
    return small.start(LOOP)


def with_script(state, *rows):
    """`state` in which the hook follows these rows."""
    return state.replace(hooks=state.hooks | {"requests": table(rows)})


def with_scripts(scripts):
    """`first_state` once for each script, along a leading axis."""
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *map(table, scripts))
    many = lambda chosen: first_state().replace(hooks=first_state().hooks | {"requests": chosen})
    return jax.vmap(many)(stacked)


@cache
def _compiled():
    data = small.DATA, small.orders(2), small.DATA, small.VALID_ORDER
    return jax.jit(lambda states: population(LOOP, states, *data))


def fits(scripts):
    """Compiled fits of two epochs, one for each script: (state, logs, rows) of each, in NumPy."""
    for first in range(0, len(scripts), CHUNK):
        some = scripts[first : first + CHUNK]
        padded = some + [()] * (CHUNK - len(some))
        results = small.numbers(_compiled()(with_scripts(padded)))
        for i in range(len(some)):
            yield jax.tree.map(lambda x, i=i: x[i], results)
