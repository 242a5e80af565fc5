"""Batches as people have them: each source gives the fit what a list of dicts gives it."""

from collections import UserDict
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

import gradtx
from gradtx.core.foreign import as_arrays
from gradtx.loop import Loop, accuracy, cross_entropy, fit, from_function
from gradtx.loop.sources import arguments_of, of_epoch
from gradtx.parallel.mesh import place_batches

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 4, 3)).astype(np.float32)
Y = RNG.integers(0, 2, (5, 4)).astype(np.int32)
PARAMS = {"w": jnp.zeros((3, 2))}


def predict(params, x):
    return x @ params["w"]


class Tensor:
    """A tensor as PyTorch's: NumPy takes it only when it is detached and on the host."""

    def __init__(self, array, state=("detach", "cpu")):
        self.array, self.state = array, state

    def __array__(self, dtype=None, copy=None):
        if self.state:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.asarray(self.array)

    def detach(self):
        return Tensor(self.array, self.state[1:])

    def cpu(self):
        assert "detach" not in self.state
        return Tensor(self.array, ())


class Bfloat16(Tensor):
    """One that NumPy has no dtype for."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType BFloat16")

    detach = cpu = lambda self: self

    def __dlpack__(self, **options):
        return jnp.asarray(self.array, jnp.bfloat16).__dlpack__(**options)

    def __dlpack_device__(self):
        return jnp.zeros(()).__dlpack_device__()


class Loader:
    """As a DataLoader of PyTorch's: begins anew, gives lists of tensors."""

    def __iter__(self):
        return ([Tensor(x), Tensor(y.astype(np.int64))] for x, y in zip(X, Y, strict=True))


class Pair(NamedTuple):
    image: np.ndarray
    label: np.ndarray


def trained(batches, *, valid=None, loss=cross_entropy, metrics=None, inputs="image", **how):
    metrics = {"accuracy": accuracy} if metrics is None else metrics
    apply = from_function(predict, inputs=inputs)
    loop = Loop(apply, loss, gradtx.sgd(0.1), metrics, **how)
    state, history = fit(loop, loop.init(PARAMS), batches, valid, epochs=2)
    return state.params["w"], history.steps["loss"], [row["valid_loss"] for row in history.rows]


def dicts(x="image", y="label"):
    return [{x: a, y: b} for a, b in zip(X, Y, strict=True)]


LIST = dicts()
SOURCES = {
    "tuples": [(a, b) for a, b in zip(X, Y, strict=True)],
    "lists": [[a, b] for a, b in zip(X, Y, strict=True)],
    "named tuples": [Pair(a, b) for a, b in zip(X, Y, strict=True)],
    "user dicts": [UserDict(batch) for batch in LIST],
    "a loader of tensors": Loader(),
    "a generator function": lambda: iter(LIST),
    "a generator function with options": lambda shuffle=False, size=4: iter(LIST),
    "of the epoch": lambda epoch: iter(LIST),
    "of the epoch and the start": lambda epoch, start: LIST[start:],
    "by default": lambda epoch=0, start=0: LIST[start:],
}


@pytest.fixture(scope="module")
def wanted():
    return trained(LIST, valid=LIST)


def assert_equal(got, want):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", SOURCES)
def test_batches_of_every_kind_train_as_dicts_do(name, wanted):
    source = SOURCES[name]
    valid = LIST if callable(source) else source
    assert_equal(trained(source, valid=valid), wanted)


def test_grain_gives_the_batches(wanted):
    import grain

    flat = {"image": X.reshape(20, 3), "label": Y.reshape(20)}
    rows = [{name: x[i] for name, x in flat.items()} for i in range(20)]
    made = grain.MapDataset.source(rows).batch(4)
    assert_equal(trained(made, valid=made.to_iter_dataset()), wanted)


def test_labels_have_the_name_that_the_loop_is_told(wanted):
    batches = dicts("x", "y")
    assert_equal(trained(batches, valid=batches, inputs="x", label="y"), wanted)
    reversed_pairs = [(b, a) for a, b in SOURCES["tuples"]]
    assert_equal(trained(reversed_pairs, valid=reversed_pairs, inputs=1, label=0), wanted)
    triples = [(b, 0.5, a) for a, b in SOURCES["tuples"]]
    assert_equal(trained(triples, valid=triples, inputs=2, label=0), wanted)
    # A loss that was told its own keeps it; one of another form is called as it is.
    bound = partial(cross_entropy, label="y")
    plain = {"ones": lambda pred, batch: jnp.ones(len(batch["y"]))}
    got = trained(batches, valid=batches, inputs="x", label="z", loss=bound, metrics=plain)
    assert_equal(got, wanted)


def test_the_labels_say_how_many_examples_there_are():
    batches = [
        {
            "node": np.ones((9, 3), np.float32),
            "y": y,
            "weight": np.array([1, 1, 0, 0.0], np.float32),
        }
        for y in Y
    ]
    apply = lambda params, state, batch, *, key, training: (batch["node"][:4] @ params["w"], state)
    loop = Loop(apply, cross_entropy, gradtx.sgd(0.1), label="y")
    fit(loop, loop.init(PARAMS), batches, epochs=1)
    assert gradtx.core.examples.count_examples({"e": np.ones(3), "y": np.ones(2)}, label="y") == 2
    assert gradtx.core.examples.count_examples((np.ones(3), np.ones(2)), label=1) == 2


def test_a_fit_goes_on_in_the_middle_of_an_epoch_of_any_source():
    loop = Loop(from_function(predict), cross_entropy, gradtx.sgd(0.1))
    start = loop.init(PARAMS)
    wanted, _ = fit(loop, start, LIST, epochs=1)
    half, _ = fit(loop, start, LIST[:2], epochs=1)
    half = half.replace(level=jnp.int32(3), batch=jnp.int32(2), epoch=jnp.int32(0))
    for name in ("a loader of tensors", "a generator function", "of the epoch"):
        state, _ = fit(loop, half, SOURCES[name], epochs=1)
        np.testing.assert_array_equal(state.params["w"], wanted.params["w"])


def test_functions_are_called_with_what_they_ask_for():
    asked = {name: arguments_of(source) for name, source in SOURCES.items() if callable(source)}
    assert list(asked.values()) == [0, 0, 1, 2, 2]
    assert arguments_of(lambda *position: []) == 2
    assert arguments_of(lambda epoch, shuffle=True: []) == 1
    assert arguments_of(partial(lambda folder, epoch: [], "x")) == 1


def test_arrays_of_other_libraries_become_numpys():
    batch = as_arrays({"x": Tensor(X[0]), "half": Bfloat16(X[0]), "rate": 0.5})
    assert isinstance(batch["x"], np.ndarray) and batch["rate"] == 0.5
    assert batch["half"].dtype == jnp.bfloat16
    given = {"x": jnp.ones(2), "y": np.ones(2), "n": 3}
    assert as_arrays(given) is given


REFUSED = [
    (lambda a, b, c: [], r"`train` must be a function of \(epoch, start\), \(epoch\) or \(\)"),
    (iter(LIST), r"`train` must give .* \(list_iterator\), .* Pass a list, or the function that"),
    (3, r"`train` must be batches; got 3\. Pass a list of batches, or a function"),
    ([{"image": X[0], "label": list("abcd")}], r"got str at label/0\. .* or make an array of it"),
    ([{"image": X[0], "target": Y[0]}], r"entry 'label', or a pair .*Loop\(label="),
    ([{"x": X[0], "label": Y[0]}], r"entry 'image', or .* as `inputs`"),
    ([(X[0], X[0], Y[0])], r"from_function: .* pair .* or its place in a tuple\."),
    ([(X[0],)], r"cross_entropy: the batch must .* got \(float32\[4, 3\],\)"),
]


@pytest.mark.parametrize(("batches", "message"), REFUSED)
def test_what_is_no_batch_is_refused_with_what_to_write(batches, message):
    with pytest.raises((TypeError, ValueError), match=message):
        trained(batches)


@pytest.mark.parametrize("name", ["a loader of tensors", "a generator function", "of the epoch"])
def test_batches_of_every_kind_are_placed_on_a_mesh(name):
    mesh = Mesh(np.array(jax.devices()[:2]).reshape(2, 1), ("data", "fsdp"))
    source = place_batches(SOURCES[name], mesh)
    if callable(source):
        assert arguments_of(source) == arguments_of(SOURCES[name])
    placed = list(of_epoch(source, 0, 2))
    assert len(placed) == 3
    for batch, x, y in zip(placed, X[2:], Y[2:], strict=True):
        got = batch if isinstance(batch, list) else list(batch.values())
        assert len(got[0].sharding.device_set) == 2
        np.testing.assert_array_equal(got[0], x)
        np.testing.assert_array_equal(got[1], y)
