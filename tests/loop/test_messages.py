"""What is wrong with a hook, a function or a batch is said before a fit begins, by name."""

import itertools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.loop import (
    Hook,
    Loop,
    Observer,
    Request,
    accuracy,
    compiled_fit,
    cross_entropy,
    fit,
    from_linen,
)
from tests.loop import small

BEGUN = Observer({"before_fit": lambda report: pytest.fail("the fit has begun")})


def attempt(*hooks, train=None, valid=small.valid, params=None, **parts):
    """A fit that must not begin."""
    loop = small.make(*hooks, **parts)
    state = loop.init(params or small.params(), small.model_state())
    fit(loop, state, train or small.batches(), valid, epochs=2, observers=[BEGUN])


def broken(*_, **__):
    raise KeyError("signal")


EACH = ("before_fit", "before_batch", "after_pred", "after_update", "after_validate", "after_fit")


@pytest.mark.parametrize("event", EACH)
def test_a_hook_that_raises_is_named_with_its_event(event):
    message = rf"Hook 'mine'\.on\['{event}'\]: must not raise; got KeyError: 'signal'\. Correct it"
    with pytest.raises(ValueError, match=message) as caught:
        attempt(Hook("mine", {event: broken}))
    assert isinstance(caught.value.__cause__, KeyError)
    loop = small.make(Hook("mine", {event: broken}))
    with pytest.raises(ValueError, match=message):
        compiled_fit(
            loop, small.start(loop), small.DATA, small.orders(), small.DATA, small.VALID_ORDER
        )


def test_a_hook_that_is_no_traced_function_says_what_to_write():
    ask = lambda state, context: (state, context.request(int(context.loss > 1)))
    with pytest.raises(TypeError, match=r"on\['after_loss'\]: .* jnp\.where in place of `if`"):
        attempt(Hook("mine", {"after_loss": ask}))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"init": broken}, r"\.init: must not raise; got KeyError"),
        ({"log": broken}, r"\.log: must not raise; got KeyError"),
        (
            {"log": lambda s: {"a": {"b": jnp.ones((4097,))}}},
            r"\.log: .* scalars .* got float32\[4097\] under 'a/b'",
        ),
        ({"log": lambda s: {"a": jnp.ones((), complex)}}, r"\.log: .* got complex64\[\] under 'a'"),
        ({"log": lambda s: {"a": jax.random.key(0)}}, r"\.log: .* real .* got key.* under 'a'"),
        ({"log": lambda s: {"a": [1.0, 2.0]}}, r"\.log: .* scalars .* under 'a'"),
        ({"log": lambda s: {1: 2.0}}, r"\.log: .* by name; got the name 1"),
        ({"log": lambda s: {"digest": 2.0}}, r": `log` must have names of its own; got 'digest'"),
        ({"log": lambda s: {"a": "text"}}, r"\.log: .* scalars .* got str under 'a'"),
        ({"log": lambda s: {"a": None}}, r"\.log: .* scalars .* got NoneType under 'a'"),
        ({"log": lambda s: jnp.zeros(())}, r"\.log: .* dict of scalars .* got float32\[\]"),
        ({"failed": broken}, r"\.failed: must not raise; got KeyError"),
        ({"failed": lambda s: 1}, r"\.failed: must return bool\[\]; got int32\[\]"),
        ({"failed": lambda s: np.zeros(2, bool)}, r"\.failed: must return bool\[\]; got bool\[2\]"),
    ],
)
def test_what_a_hook_says_of_itself_is_checked_when_the_state_is_made(told, message):
    loop = small.make(Hook("mine", {}, **told))
    with pytest.raises(ValueError, match=f"Hook 'mine'{message}"):
        small.start(loop)
    plain = small.make()
    with pytest.raises(ValueError, match=f"Hook 'mine'{message}"):
        plain.with_hooks(small.start(plain), loop.hooks)


def test_a_hook_that_is_said_to_request_nothing_is_held_to_it():
    end = lambda state, context: (state, context.request(Request.END_FIT))
    loop = small.make(Hook("mine", {"after_batch": end}, requests=False))
    with pytest.raises(ValueError, match=r"on\['after_batch'\]: a hook with `requests=False` must"):
        small.run(loop, epochs=1)


def test_scalars_by_group_are_a_log():
    log = lambda state: {"norm": {"body": jnp.float32(1), "head": 2.0}}
    loop = small.make(Hook("mine", {}, log=log))
    _, history = small.run(loop, epochs=1)
    assert history.steps["norm"]["head"].tolist() == [2.0] * 3


@pytest.mark.parametrize("what", ["faults", "reason"])
def test_what_is_asked_after_a_fit_is_named_too(what):
    loop = small.make(Hook("mine", {}, failed=lambda s: True, **{what: broken}))
    state = small.start(loop)
    with pytest.raises(ValueError, match=rf"Hook 'mine'\.{what}: must not raise; got KeyError"):
        loop.faults(state) if what == "faults" else loop.failure(state)


def pred_only(params, model_state, batch, *, key, training):
    return small.apply(params, model_state, batch, key=key, training=training)[0]


def with_state(change):
    def apply(params, model_state, batch, *, key, training):
        pred, _ = small.apply(params, model_state, batch, key=key, training=training)
        return pred, change(model_state)

    return apply


def changed(update):
    return optax.GradientTransformation(lambda params: {"m": jnp.zeros(())}, update)


PAIR = {"x": small.DATA["x"][:2], "y": small.DATA["y"][:2]}
BATCH = r"\{'x': float32\[8, 3\], 'y': float32\[8\]\}"
WRONG = {
    "only predictions": ({"apply": pred_only}, r"Loop\.apply: must return \(pred, model_state\);"),
    "two predictions": (
        {"apply": pred_only, "train": [PAIR]},
        r"Loop\.apply: must return \(pred, model_state\); got float32\[2\]",
    ),
    "another model state": (
        {"apply": with_state(lambda state: {"variance": state["mean"]})},
        r"Loop\.apply: the model state must keep its structure",
    ),
    "a model state of another dtype": (
        {"apply": with_state(lambda s: {"mean": s["mean"].astype(jnp.bfloat16)})},
        r"Loop\.apply: the model state .* got bfloat16\[4\] at mean after float32\[4\]",
    ),
    "apply raises": ({"apply": broken}, rf"Loop\.apply: must not raise; .* the batch {BATCH}"),
    "loss raises": ({"loss": broken}, rf"Loop\.loss: must not raise; .* the batch {BATCH}"),
    "metric raises": (
        {"metrics": {"f1": broken}},
        rf"Loop\.metrics\['f1'\]: must not raise; got KeyError: 'signal', for the batch {BATCH}",
    ),
    "no loss": ({"loss": lambda p, b: None}, r"Loop\.loss: must return an array, .* got NoneType"),
    "an integer loss": (
        {"loss": lambda p, b: (p > b["y"]).astype(jnp.int32)},
        r"Loop\.loss: must return floats, .* got int32\[8\]",
    ),
    "a bool loss": ({"loss": lambda p, b: p > b["y"]}, r"Loop\.loss: .* got bool\[8\]"),
    "a number as metric": (
        {"metrics": {"f1": lambda p, b: 0.5}},
        r"Loop\.metrics\['f1'\]: must return an array, one value for each example; got float",
    ),
    "tuples as batches": (
        {"train": [tuple(PAIR.values())]},
        r"Loop\.apply: must not raise; .* for the batch \(float32\[2, 3\], float32\[2\]\)",
    ),
    "text in a batch": (
        {"train": [PAIR | {"name": ["a", "b"]}]},
        "every leaf of a batch of `train` must be an array of numbers; got str at name/0",
    ),
    "objects in a batch": (
        {"valid": [PAIR | {"name": np.array(["a", None])}]},
        r"every leaf of a batch of `valid` must be an array of numbers; got object\[2\] at name",
    ),
    "a function of more": (
        {"train": lambda epoch, start, seed: iter([PAIR])},
        r"`train` must be a function of \(epoch, start\), \(epoch\) or \(\), .*got <lambda>\(ep",
    ),
    "a validation of an epoch": (
        {"valid": lambda epoch, start: [PAIR]},
        r"`valid` must be a function of \(\), which returns batches; got <lambda>\(epoch, start\)",
    ),
    "an empty validation": ({"valid": []}, "`valid` must give batches; got none"),
    "whole parameters": (
        {"params": small.params() | {"n": jnp.int32(3)}},
        r"Loop\.init: every parameter must be floating or complex, .* got int32\[\] at n\. Put it",
    ),
    "keys as parameters": (
        {"params": small.params() | {"k": {"dropout": jax.random.key(0)}}},
        r"Loop\.init: every parameter must be .* got key<fry>\[\] at k/dropout",
    ),
    "an optimizer that raises": (
        {"tx": changed(broken)},
        r"Loop\.tx\.update: must not raise; got KeyError",
    ),
    "an optimizer without a state": (
        {"tx": changed(lambda g, s, p=None: g)},
        r"Loop\.tx\.update: must return \(updates, state\)",
    ),
    "an optimizer whose state changes": (
        {"tx": changed(lambda g, s, p=None: (g, {"m": jnp.zeros((), jnp.bfloat16)}))},
        r"fit: the state must keep .* `train_step` makes bfloat16\[\] at opt_state/m after float32",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_fit_says_what_is_wrong_before_it_begins(case):
    parts, message = WRONG[case]
    with pytest.raises((TypeError, ValueError), match=message):
        attempt(**parts)


def test_functions_are_asked_for_their_arguments_when_they_are_given():
    with pytest.raises(TypeError, match=r"Loop: `apply` must be a function of \(params, model_st"):
        Loop(lambda params, batch: batch, small.loss, gradtx.sgd(0.1))
    with pytest.raises(TypeError, match=r"Loop: `loss` must be a function of \(pred, batch\)"):
        Loop(small.apply, lambda pred: pred, gradtx.sgd(0.1))
    with pytest.raises(TypeError, match=r"Loop: `metrics\['f1'\]` must be a function of \(pred"):
        Loop(small.apply, small.loss, gradtx.sgd(0.1), metrics={"f1": lambda pred: pred})
    with pytest.raises(TypeError, match=r"Hook 'mine': `on\['after_loss'\]` must be a function of"):
        Hook("mine", {"after_loss": lambda context: context})
    with pytest.raises(TypeError, match=r"Hook 'mine': `init` must be a function of the state"):
        Hook("mine", {}, init=lambda: 0)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return nn.Dense(4)(x)


class Odd(nn.Module):
    @nn.compact
    def __call__(self, x, mask, *, train):
        return nn.Dense(4)(x)


def test_a_linen_module_needs_its_inputs_and_the_batch_its_entries():
    with pytest.raises(TypeError, match=r"from_linen: `module` must be a function of \(x, train"):
        from_linen(Odd())
    x, label = small.DATA["x"][:8], jnp.arange(8) % 4
    params = {"Dense_0": {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}}

    def attempt(batch, **parts):
        loop = Loop(
            **({"apply": from_linen(Net()), "loss": cross_entropy} | parts), tx=gradtx.sgd(1.0)
        )
        fit(loop, loop.init(params), [batch], [batch], epochs=1)

    given = r"got \{'x': float32\[8, 3\], 'y': int32\[8\]\}"
    batch = {"x": x, "y": label}
    with pytest.raises(ValueError, match=f"from_linen: .* entry 'image'.*{given}.* as `inputs`"):
        attempt(batch)
    apply = from_linen(Net(), inputs="x")
    with pytest.raises(ValueError, match=f"cross_entropy: .* entry 'label'.*{given}.*label=name"):
        attempt(batch, apply=apply)
    loss = partial(cross_entropy, label="y")
    with pytest.raises(ValueError, match=f"accuracy: .* entry 'label'.*{given}.*label=name"):
        attempt(batch, apply=apply, loss=loss, metrics={"accuracy": accuracy})
    attempt(batch, apply=apply, loss=loss, metrics={"accuracy": partial(accuracy, label="y")})
    attempt((x, label))
    with pytest.raises(ValueError, match=r"from_linen: the batch .* got \(\)"):
        attempt(())


def test_batches_that_have_begun_are_closed_whatever_happens():
    closed = []

    class Source:
        def __init__(self, name):
            self.name = name

        def __iter__(self):
            return itertools.repeat(small.valid()[0], 2)

        def close(self):
            closed.append(self.name)

    sources = {"train": lambda epoch, start: Source("train"), "valid": lambda: Source("valid")}
    with pytest.raises(ValueError, match="must not raise"):
        attempt(loss=broken, **sources)
    assert closed == ["valid", "train"]
    closed.clear()
    stop = Hook("stop", {"before_fit": lambda s, c: (s, c.request(6))})
    loop = small.make(stop)
    fit(loop, small.start(loop), sources["train"], epochs=2)
    assert closed == ["train"]


def test_tracing_before_a_fit_costs_no_second_trace():
    count = itertools.count()
    last = 0

    def loss(pred, batch):
        nonlocal last
        last = next(count) + 1
        return small.loss(pred, batch)

    small.run(small.make(loss=loss))
    assert last == 2 + 1  # training: once for the gradient's loss; validation: forward and measure
