"""One loop with a scripted hook and a tracer, compiled once for all tests of the rules."""

from functools import cache

import jax
import jax.numpy as jnp

from gradtx.loop import population, train_step
from tests.loop import small
from tests.loop.scripted import script, scripted
from tests.loop.trace import tracer

LOOP = small.make(scripted("scripted"), tracer())
CHUNK = 8
step = jax.jit(train_step, static_argnums=0)


@cache
def first_state():
    return small.start(LOOP)


def with_scripts(scripts):
    """`first_state` once for each script, along a leading axis."""
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *scripts)
    many = lambda chosen: first_state().replace(hooks=first_state().hooks | {"scripted": chosen})
    return jax.vmap(many)(stacked)


@cache
def _compiled():
    data = small.DATA, small.orders(2), small.DATA, small.VALID_ORDER
    return jax.jit(lambda states: population(LOOP, states, *data))


def fits(scripts):
    """Compiled fits of two epochs, one for each script: (state, logs, rows) of each, in NumPy."""
    for first in range(0, len(scripts), CHUNK):
        some = scripts[first : first + CHUNK]
        padded = some + [script()] * (CHUNK - len(some))
        results = small.numbers(_compiled()(with_scripts(padded)))
        for i in range(len(some)):
            yield jax.tree.map(lambda x, i=i: x[i], results)
