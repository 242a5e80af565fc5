"""Loaders and models of other libraries, the real ones, in a fit."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.loop import Loop, accuracy, cross_entropy, fit, from_function, from_linen

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 3)).astype(np.float32)
Y = RNG.integers(0, 2, 20)
EXAMPLES = [{"image": x, "label": y} for x, y in zip(X, Y, strict=True)]
LIST = [{"image": X[i : i + 4], "label": Y[i : i + 4]} for i in range(0, 20, 4)]


def trained(train, valid=None, inputs="image", label=None):
    apply = from_function(lambda params, x: x @ params["w"], inputs=inputs)
    loop = Loop(apply, cross_entropy, gradtx.sgd(0.1), {"accuracy": accuracy}, label=label)
    state = loop.init({"w": jnp.zeros((3, 2))})
    state, history = fit(loop, state, train, valid, epochs=2)
    return history.steps["loss"], history.rows[-1]["valid_loss"]


@pytest.fixture(scope="module")
def wanted():
    return trained(LIST, LIST)


def assert_as_from_the_list(got, wanted):
    np.testing.assert_array_equal(got[0], wanted[0])
    if not np.isnan(got[1]):
        assert got[1] == wanted[1]


def grain_sources():
    grain = pytest.importorskip("grain", reason="grain is in the extra `data`")
    import grain.python as older

    data = grain.MapDataset.source(EXAMPLES)
    batched = data.batch(4)
    sampler = older.IndexSampler(20, older.NoSharding(), shuffle=False, num_epochs=1, seed=0)
    loader = older.DataLoader(
        data_source=EXAMPLES, sampler=sampler, operations=[older.Batch(4)], worker_count=0
    )
    return {
        "a data set": batched,
        "an iterable one": batched.to_iter_dataset(),
        "pairs": data.map(lambda example: (example["image"], example["label"])).batch(4),
        "a loader": loader,
        "a function": lambda epoch: loader,
    }


@pytest.mark.parametrize(
    "name", ["a data set", "an iterable one", "pairs", "a loader", "a function"]
)
def test_grain_gives_what_a_list_gives(name, wanted):
    source = grain_sources()[name]
    valid = None if name == "a function" else source
    assert_as_from_the_list(trained(source, valid), wanted)


def test_grain_without_an_end_or_read_once_is_refused():
    grain = pytest.importorskip("grain", reason="grain is in the extra `data`")
    data = grain.MapDataset.source(EXAMPLES)
    with pytest.raises(ValueError, match=r"`train` must end, .* \w+MapDataset without an end\. Le"):
        trained(data.repeat().batch(4))
    with pytest.raises(ValueError, match=r"`train` must give its batches anew for every epoch"):
        trained(iter(data.batch(4).to_iter_dataset()))


def torch_sources():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    from torch.utils.data import DataLoader, TensorDataset

    pairs = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    worker = {"num_workers": 1, "multiprocessing_context": "spawn"}
    named = [{"pixels": torch.from_numpy(x), "y": int(y)} for x, y in zip(X, Y, strict=True)]
    triples = [(0, x, int(y)) for x, y in zip(X, Y, strict=True)]
    return {
        "pairs": ({}, lambda: DataLoader(pairs, batch_size=4)),
        "workers": ({}, lambda: DataLoader(pairs, batch_size=4, **worker)),
        "kept workers": (
            {},
            lambda: DataLoader(pairs, batch_size=4, persistent_workers=True, **worker),
        ),
        "dicts": ({"inputs": "pixels", "label": "y"}, lambda: DataLoader(named, batch_size=4)),
        "triples": ({"inputs": 1, "label": 2}, lambda: DataLoader(triples, batch_size=4)),
    }


@pytest.mark.thorough
@pytest.mark.parametrize("made", ["once", "in every epoch"])
@pytest.mark.parametrize("name", ["pairs", "workers", "kept workers", "dicts", "triples"])
def test_pytorchs_loader_gives_what_a_list_gives(name, made, wanted):
    how, make = torch_sources()[name]
    source = make() if made == "once" else make
    assert_as_from_the_list(trained(source, source, **how), wanted)


@pytest.mark.thorough
def test_pytorchs_loader_shuffles_anew_in_every_epoch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    make = lambda: DataLoader(
        data, batch_size=6, shuffle=True, generator=torch.Generator().manual_seed(0)
    )
    loader = make()
    batches = [{"image": x.numpy(), "label": y.numpy()} for _ in range(2) for x, y in loader]
    assert not np.array_equal(batches[0]["image"], batches[4]["image"])
    want = trained(lambda epoch, start: batches[4 * epoch + start : 4 * epoch + 4])
    np.testing.assert_array_equal(trained(make())[0], want[0])


@pytest.fixture
def transformers(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    why = "needs transformers with Flax models: pip install 'transformers<5'"
    module = pytest.importorskip("transformers", reason=why)
    if not hasattr(module, "FlaxBertForSequenceClassification"):
        pytest.skip(why)
    return module


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("inputs", ["input_ids", ("input_ids", "attention_mask")])
def test_a_language_model_of_hugging_face_is_trained_as_by_hand(transformers, inputs):
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=3,
    )
    model = transformers.FlaxBertForSequenceClassification(config, seed=0, input_shape=(1, 8))
    batches = [
        {
            "input_ids": RNG.integers(0, 50, (4, 8)).astype(np.int32),
            "attention_mask": np.ones((4, 8), np.int32),
            "labels": RNG.integers(0, 3, 4).astype(np.int32),
        }
        for _ in range(4)
    ]
    loop = Loop(
        from_function(model, inputs=inputs), cross_entropy, gradtx.adamw(0.01), label="labels"
    )
    with standard_rules():
        _, history = fit(loop, loop.init(model.params), batches, batches, epochs=1)
        tx, params, want = optax.adamw(0.01), model.params, []
        state = tx.init(params)
        for batch in batches:
            logits = lambda p, batch=batch: model(batch["input_ids"], params=p, train=False).logits
            loss = lambda p, batch=batch, logits=logits: (
                optax.softmax_cross_entropy_with_integer_labels(logits(p), batch["labels"]).mean()
            )
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            want.append(float(value))
    np.testing.assert_allclose(history.steps["loss"], want, rtol=1e-4)
    assert np.isfinite(history.rows[0]["valid_loss"])


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_a_convolutional_model_of_hugging_face_has_its_statistics_in_the_state(transformers):
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], num_labels=3
    )
    with standard_rules():
        model = transformers.FlaxResNetForImageClassification(
            config, input_shape=(1, 16, 16, 3), seed=0
        )
    batch = {
        "pixel_values": RNG.standard_normal((4, 16, 16, 3)).astype(np.float32),
        "labels": RNG.integers(0, 3, 4),
    }
    variables = dict(model.params)
    params = variables.pop("params")
    apply = from_linen(model.module, inputs="pixel_values")
    loop = Loop(apply, cross_entropy, gradtx.sgd(0.05), label="labels")
    with standard_rules():
        state, history = fit(loop, loop.init(params, variables), [batch], [batch], epochs=5)
    assert history.steps["loss"][-1] < history.steps["loss"][0]
    before, after = jax.tree.leaves(variables), jax.tree.leaves(state.model_state)
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def standard_rules():
    """Their models mix dtypes and ranks."""
    stack = contextlib.ExitStack()
    stack.enter_context(jax.numpy_dtype_promotion("standard"))
    stack.enter_context(jax.numpy_rank_promotion("allow"))
    return stack
