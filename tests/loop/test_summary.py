"""A model and its steps in numbers."""

import jax
import numpy as np
import pytest

import gradtx
from gradtx.hooks import ema_params
from gradtx.loop import Loop, fit, from_linen, never, summary
from gradtx.loop.observer import Observer
from gradtx.loop.program import flops_in, lowered_step, program_of, step_program
from tests.loop import small


def batch():
    return small.batches(1)(0, 0)[0]


def test_any_loop_is_counted():
    loop = small.make(ema_params(0.5), tx=gradtx.adamw(0.1))
    state = small.start(loop)
    found = summary(loop, state, batch(), compiles=False)
    (layer,) = found.layers
    assert (layer.path, layer.kind, layer.output) == ("", "", "")
    assert layer.params == (("b", (4,)), ("w1", (3, 4)), ("w2", (4, 1))) and layer.size == (
        20,
        80,
        80,
    )
    sizes = {name: size.numbers for name, size in found.sizes}
    assert sizes["parameters"] == sizes["gradients"] == 20
    assert sizes["optimizer: scale_by_adam"] == 40 and sizes["model state"] == 4
    assert sizes["hook ema_params"] == sum(x.size for x in jax.tree.leaves(state.hooks))
    assert found.program is None and "a step" not in str(found)


def test_layers_of_linen_have_their_kind_and_output():
    from flax import linen as nn

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.relu(nn.Dense(5, name="z_first")(x))

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = Block(name="block")(x)
            return nn.Dense(1, name="a_last")(x)[:, 0]

    params = Net().init(jax.random.key(0), small.DATA["x"][:1])["params"]
    loop = Loop(from_linen(Net(), inputs="x"), small.loss, gradtx.sgd(0.1))
    state = loop.init(params)
    found = summary(loop, state, batch(), compiles=False)
    rows = [(x.path, x.kind, x.output, x.size.numbers) for x in found.layers]
    assert rows == [("block/z_first", "Dense", "8x5", 20), ("a_last", "Dense", "8x1", 6)]
    # The products of a step: x W1, h W2, and of their gradients all but that of the input.
    assert flops_in(lowered_step(loop, state, batch())) >= 2 * 8 * (2 * 3 * 5 + 3 * 5)
    assert "bias 5, kernel 3x5" in str(found) and "bias 5, kernel 3x5" in found._repr_html_()


def test_the_program_is_that_of_the_fit_and_not_compiled_again(caplog):
    loop = small.make()
    state, seen = small.start(loop), []
    look = Observer({"after_epoch": lambda r: seen.append(r.program())}, reads=never)
    with jax.log_compiles():
        fit(loop, state, small.batches(1), epochs=1, observers=[look], steps_per_execution=1)
        fitted = lowered_step(loop, state, batch())
        again = program_of(fitted)
        told = summary(loop, state, batch())
    assert sum("Finished XLA compilation of jit(train_step)" in x for x in caplog.messages) == 1
    (found,) = seen
    assert found == again == told.program
    words = f"{found.flops:,.0f} floating-point operations", f"{found.bytes:,} bytes"
    assert all(part in str(told) and part in told._repr_html_() for part in words)
    whole = sum(x.nbytes for x in jax.tree.leaves(small.numbers((state, batch()))))
    assert found.arguments == whole and found.temporaries > 0 and found.flops > 0
    assert found.bytes >= whole
    with_seen = []
    look = Observer({"after_epoch": lambda r: with_seen.append(r.program())}, reads=never)
    fit(loop, state, small.batches(1), epochs=1, observers=[look], steps_per_execution=3)
    assert with_seen == [None]  # a block is another program


@pytest.mark.thorough
def test_the_step_of_a_mesh_is_counted_by_device():
    from gradtx.parallel.mesh import make_mesh, place_batches, shard_state

    if jax.device_count() < 2:
        pytest.skip("one device")
    mesh = make_mesh(f"data={jax.device_count()}")
    loop = small.make()
    state = shard_state(small.start(loop), mesh)
    wide = [{k: np.tile(x, (8, *[1] * (x.ndim - 1))) for k, x in batch().items()}]
    (placed,) = place_batches(wide, mesh)
    one, many = step_program(loop, small.start(loop), wide[0]), step_program(loop, state, placed)
    assert many.arguments < one.arguments
