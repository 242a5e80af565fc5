"""The recurrent language model against float64 NumPy, and the laws of its carry and dropouts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradtx.models.rnn import LSTM, Dropouts, LSTMLanguageModel, sequence_loss

NONE = Dropouts(0, 0, 0, 0, 0)
BATCH, TIME, VOCAB = 3, 6, 23


def tokens_of(seed, time=TIME):
    drawn = np.random.default_rng(seed).integers(0, VOCAB, (BATCH, time))
    return jnp.asarray(drawn, jnp.int32)


def make(**options):
    options = {"embedding_size": 5, "hidden_size": 7, "num_layers": 2, "dropouts": NONE} | options
    model = LSTMLanguageModel(VOCAB, **options)
    variables = initial(model.clone(dropouts=NONE))
    return model, variables["params"], {"carry": variables["carry"]}


# These models run for microseconds and compile for seconds.
quick_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.cache
def initial(model):
    init = quick_jit(functools.partial(model.init, train=False))
    return init(jax.random.key(0, impl="rbg"), tokens_of(0))


def apply(model, params, state, tokens, train=False, seed=0):
    rngs = {"dropout": jax.random.key(seed, impl="rbg")}  # compiles in half threefry's time
    return model.apply(
        {"params": params, **state}, tokens, train=train, rngs=rngs, mutable=["carry"]
    )


run = quick_jit(apply, static_argnames=("model", "train"))


def grad(loss, argument):
    return quick_jit(jax.grad(loss))(argument)


def assert_close(got, want, rtol=1e-5, atol=1e-6):
    """Every leaf of two trees of the same structure."""
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), got, want)


def numpy_lstm(layer, x, h, c):
    """One layer in float64, gate by gate and step by step."""
    w, u, b = (np.asarray(layer[k], np.float64) for k in ("input_kernel", "hidden_kernel", "bias"))
    n = u.shape[0]
    sigmoid = lambda z: 1 / (1 + np.exp(-z))
    outputs = []
    for t in range(x.shape[1]):
        i, f, g, o = (
            x[:, t] @ w[:, k * n : (k + 1) * n] + h @ u[:, k * n : (k + 1) * n] + b[k * n :][:n]
            for k in range(4)
        )
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1), h, c


def numpy_model(params, state, tokens):
    """Logits, raw outputs and the new carry of a model without dropout, in float64."""
    x = np.asarray(params["embedding"], np.float64)[np.asarray(tokens)]
    carry = {}
    for name, old in sorted(state["carry"].items()):
        h, c = (np.asarray(old[k], np.float64) for k in "hc")
        x, h, c = numpy_lstm(params[name], x, h, c)
        carry[name] = {"h": h, "c": c}
    decoder = params.get("decoder_kernel", params["embedding"].T)
    return x @ np.asarray(decoder, np.float64) + np.asarray(params["bias"], np.float64), x, carry


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("tie_weights", [True, False])
def test_forward_agrees_with_numpy_from_any_carry(num_layers, tie_weights):
    model, params, state = make(num_layers=num_layers, tie_weights=tie_weights)
    params = {**params, "bias": jnp.linspace(-1, 1, VOCAB)}
    state = jax.tree.map(lambda x: jnp.sin(jnp.linspace(1, 9, x.size)).reshape(x.shape), state)
    output, new = run(model, params, state, tokens_of(1))
    logits, raw, carry = numpy_model(params, state, tokens_of(1))
    np.testing.assert_allclose(output.logits, logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(output.raw, raw, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(output.raw, output.dropped)
    assert_close(new["carry"], carry)


def test_layer_sizes_follow_the_tying():
    _, tied, _ = make(num_layers=3)
    assert [tied[f"lstm_{i}"]["hidden_kernel"].shape[0] for i in range(3)] == [7, 7, 5]
    assert "decoder_kernel" not in tied
    _, free, _ = make(num_layers=3, tie_weights=False)
    assert [free[f"lstm_{i}"]["hidden_kernel"].shape[0] for i in range(3)] == [7, 7, 7]
    assert free["decoder_kernel"].shape == (7, VOCAB)


def test_initial_values_have_the_documented_range():
    _, params, state = make(hidden_size=64, embedding_size=64)
    for leaf in jax.tree.leaves(params["lstm_0"]):
        assert 0.9 / 8 < np.abs(leaf).max() <= 1 / 8
    assert 0.09 < np.abs(params["embedding"]).max() <= 0.1
    assert not params["bias"].any()
    assert not any(leaf.any() for leaf in jax.tree.leaves(state))


def test_the_carry_makes_two_batches_one_long_sequence():
    model, params, state = make()
    tokens = tokens_of(2, time=2 * TIME)
    whole, end = run(model, params, state, tokens)
    first, middle = run(model, params, state, tokens[:, :TIME])
    second, last = run(model, params, middle, tokens[:, TIME:])
    parts = jnp.concatenate([first.logits, second.logits], axis=1)
    np.testing.assert_allclose(parts, whole.logits, rtol=1e-5, atol=1e-6)
    assert_close(last, end)
    fresh, _ = run(model, params, state, tokens[:, TIME:])
    assert not np.allclose(fresh.logits, second.logits, atol=1e-4)


def test_time_steps_one_by_one_give_what_the_scan_gives():
    model, params, state = make()
    tokens = tokens_of(3)
    whole, end = run(model, params, state, tokens)
    for t in range(TIME):
        step, state = run(model, params, state, tokens[:, t : t + 1])
        np.testing.assert_allclose(step.logits[:, 0], whole.logits[:, t], rtol=1e-5, atol=1e-6)
    assert_close(state, end)


def test_no_gradient_flows_into_the_incoming_carry():
    model, params, state = make()
    state = jax.tree.map(jnp.ones_like, state)
    loss = lambda state: apply(model, params, state, tokens_of(5))[0].logits.sum()
    assert not any(leaf.any() for leaf in jax.tree.leaves(grad(loss, state)))


def test_gradient_of_two_chained_batches_stops_between_them():
    model, params, state = make()

    def chained(p):
        _, middle = apply(model, p, state, tokens_of(6))
        return apply(model, p, middle, tokens_of(7))[0].logits.sum()

    _, middle = run(model, params, state, tokens_of(6))
    second = lambda p: apply(model, p, middle, tokens_of(7))[0].logits.sum()
    got, want = grad(chained, params), grad(second, params)
    assert_close(got, want)


def masked_layer(rate, seed, steps=1):
    """Run a layer whose only live weights lead from h to the cell input g, row b from h = e_b.

    After one step c = tanh(U[b]) / 2 in row b, so c shows the masked weights U themselves.
    """
    n = 8
    kernel = jnp.zeros((n, 4 * n)).at[:, 2 * n : 3 * n].set(0.1 * jnp.eye(n) + 0.05)
    params = {
        "input_kernel": jnp.zeros((1, 4 * n)),
        "hidden_kernel": kernel,
        "bias": jnp.zeros(4 * n),
    }
    state = {"carry": {"h": jnp.eye(n), "c": jnp.zeros((n, n))}}
    layer = LSTM(n, weight_dropout=rate)
    output, new = run(layer, params, state, jnp.zeros((n, steps, 1)), train=rate > 0, seed=seed)
    return output, new["carry"], params


def masked_weights(rate, seed):
    _, carry, params = masked_layer(rate, seed)
    n = len(carry["c"])
    return np.arctanh(2 * carry["c"]), np.asarray(params["hidden_kernel"][:, 2 * n : 3 * n])


def test_weight_dropout_scales_single_weights_by_zero_or_the_inverse():
    seen, kernel = masked_weights(0.0, 0)
    np.testing.assert_allclose(seen, kernel, rtol=1e-5)
    seen, kernel = masked_weights(0.25, 1)
    kept = np.isclose(seen / kernel, 1 / 0.75, rtol=1e-4)
    np.testing.assert_array_equal(seen[~kept], 0)
    assert 0.5 < kept.mean() < 0.95
    assert not kept.all(axis=0).all() and not kept.all(axis=1).all(), "whole units were dropped"


def test_weight_dropout_differs_between_batches():
    first, again, other = (masked_weights(0.5, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert ((first == 0) != (other == 0)).any()


def test_weight_dropout_is_the_same_at_all_time_steps():
    seen, kernel = masked_weights(0.5, 3)
    n = len(kernel)
    output, carry, params = masked_layer(0.5, 3, steps=5)
    masked = np.zeros((n, 4 * n))
    masked[:, 2 * n : 3 * n] = np.where(seen == 0, 0, 2 * kernel)
    want, _, c = numpy_lstm(
        {**params, "hidden_kernel": masked}, np.zeros((n, 5, 1)), np.eye(n), np.zeros((n, n))
    )
    np.testing.assert_allclose(output, want, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(carry["c"], c, rtol=1e-4, atol=1e-7)


def test_weight_dropout_alone_changes_training_only():
    model, params, state = make(dropouts=NONE._replace(weight=0.5))
    trained, _ = run(model, params, state, tokens_of(8), train=True)
    plain, _ = run(model, params, state, tokens_of(8))
    assert not np.allclose(trained.raw, plain.raw, atol=1e-5)
    np.testing.assert_array_equal(trained.raw, trained.dropped)


def test_output_dropout_is_locked_over_time_and_drawn_for_each_row():
    model, params, state = make(dropouts=NONE._replace(output=0.5), embedding_size=32, num_layers=1)
    output, _ = run(model, params, state, tokens_of(9), train=True)
    factor = np.asarray(output.dropped / output.raw)
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1], factor.shape), rtol=1e-5)
    assert {0.0, 2.0} == set(np.round(factor, 4).ravel().tolist())
    assert (factor[0] != factor[1]).any()
    logits = output.dropped @ params["embedding"].T + params["bias"][None, None]
    np.testing.assert_allclose(output.logits, logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("place", ["input", "hidden"])
def test_input_and_hidden_dropout_are_locked_over_time(place):
    """Equal tokens, no recurrence: with one mask per row all time steps must be equal."""
    model, params, state = make(dropouts=NONE._replace(**{place: 0.5}))
    params = {k: without_memory(v) if k.startswith("lstm") else v for k, v in params.items()}
    tokens = jnp.full((BATCH, TIME), 4, jnp.int32)
    output, _ = run(model, params, state, tokens, train=True)
    repeated = np.broadcast_to(output.raw[:, :1], output.raw.shape)
    np.testing.assert_allclose(output.raw, repeated, rtol=1e-6)
    assert not np.allclose(output.raw[0], output.raw[1]), "rows share a mask"
    plain, _ = run(model, params, state, tokens)
    assert not np.allclose(output.raw, plain.raw)


def without_memory(layer):
    """The layer with the hidden-to-hidden weights at zero and the forget gate shut."""
    n = layer["hidden_kernel"].shape[0]
    bias = layer["bias"].at[n : 2 * n].set(-1e9)
    return {**layer, "hidden_kernel": jnp.zeros_like(layer["hidden_kernel"]), "bias": bias}


def test_embedding_dropout_drops_whole_words_for_the_whole_batch():
    model, params, state = make(dropouts=NONE._replace(embedding=0.5), num_layers=1)
    params = {**params, "lstm_0": without_memory(params["lstm_0"])}
    tokens = jnp.broadcast_to(jnp.arange(VOCAB, dtype=jnp.int32), (BATCH, VOCAB))
    output, _ = run(model, params, state, tokens, train=True)
    np.testing.assert_array_equal(output.raw, np.broadcast_to(output.raw[:1], output.raw.shape))

    def raw_with(factor):
        scaled = {**params, "embedding": factor * params["embedding"]}
        return run(model, scaled, state, tokens)[0].raw[0]

    dropped = np.isclose(output.raw[0], raw_with(0.0), atol=1e-7).all(axis=-1)
    doubled = np.isclose(output.raw[0], raw_with(2.0), atol=1e-7).all(axis=-1)
    assert (dropped ^ doubled).all()
    assert 0 < dropped.sum() < VOCAB


def test_tied_weights_add_both_gradients():
    model, params, state = make(num_layers=1)
    free = model.clone(tie_weights=False, hidden_size=model.embedding_size)
    untied = {**params, "decoder_kernel": params["embedding"].T}
    label = tokens_of(11)

    def loss(m):
        return lambda p: sequence_loss(apply(m, p, state, tokens_of(10))[0].logits, label).mean()

    tied_grad, free_grad = grad(loss(model), params), grad(loss(free), untied)
    assert free_grad["embedding"].any() and free_grad["decoder_kernel"].any()
    total = free_grad["embedding"] + free_grad["decoder_kernel"].T
    np.testing.assert_allclose(tied_grad["embedding"], total, rtol=1e-5, atol=1e-7)


def test_evaluation_is_deterministic_and_needs_no_key():
    model, params, state = make(dropouts=Dropouts(0.5, 0.5, 0.5, 0.5, 0.5))
    first = model.apply({"params": params, **state}, tokens_of(12), train=False)
    second, third = (run(model, params, state, tokens_of(12), seed=seed)[0] for seed in (8, 9))
    jax.tree.map(np.testing.assert_array_equal, second, third)
    assert_close(first, second)
    plain, _ = run(model.clone(dropouts=NONE), params, state, tokens_of(12))
    assert_close(first, plain)
    train = [run(model, params, state, tokens_of(12), train=True, seed=s)[0] for s in (1, 2)]
    assert (train[0].logits != train[1].logits).any()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_low_precision_keeps_the_carry_in_float32_and_stays_close(dtype):
    model, params, state = make()
    exact, end = run(model, params, state, tokens_of(13))
    output, new = run(model.clone(dtype=dtype), params, state, tokens_of(13), train=True)
    assert {leaf.dtype for leaf in jax.tree.leaves(output)} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype("float32")}
    close = {"rtol": 0.02, "atol": 0.005}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a.astype(jnp.float32), b, **close), output, exact
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), new, end)
    low = model.clone(dtype=dtype)
    loss = lambda p: apply(low, p, state, tokens_of(13))[0].logits.astype(jnp.float32).sum()
    grads = grad(loss, params)
    assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype("float32")}


def test_without_a_dtype_the_parameters_decide():
    model, params, state = make(dropouts=Dropouts())
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    output, new = run(model, half, state, tokens_of(14), train=True)
    assert output.logits.dtype == output.raw.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype("float32")}


def test_the_state_is_a_fixed_point_of_jit_and_scan():
    model, params, state = make(dropouts=Dropouts())
    traces = []

    def step(state, tokens):
        traces.append(1)
        output, state = apply(model, params, state, tokens, train=True)
        return state, output.logits

    batches = jnp.stack([tokens_of(k) for k in range(3)])
    jitted, looped = quick_jit(step), state
    for tokens in batches:
        looped, logits = jitted(looped, tokens)
    assert len(traces) == 1
    assert logits.shape == (BATCH, TIME, VOCAB)
    scanned, all_logits = quick_jit(lambda s: jax.lax.scan(step, s, batches))(state)
    assert_close(scanned, looped)
    np.testing.assert_allclose(all_logits[-1], logits, rtol=1e-5, atol=1e-7)


def test_sequence_loss_is_the_mean_over_real_labels():
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(3, 4, 5)) * 3, rng.integers(0, 5, (3, 4))
    label[1, 2:], label[2, :] = -1, -1
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    want = [
        -np.mean([log_p[b, t, label[b, t]] for t in range(n)]) if n else 0.0
        for b, n in enumerate((4, 2, 0))
    ]
    inputs = jnp.asarray(logits, jnp.float32), jnp.asarray(label, jnp.int32)
    loss = sequence_loss(*inputs)
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    slope = grad(lambda z: sequence_loss(z, inputs[1]).sum(), inputs[0])
    assert np.isfinite(slope).all()
    assert not slope[1, 2:].any() and not slope[2].any() and slope[1, 1].any()
    assert sequence_loss(inputs[0].astype(jnp.bfloat16), inputs[1]).dtype == jnp.float32


def test_a_few_steps_of_training_lower_the_loss():
    model, params, state = make(dropouts=Dropouts(), num_layers=1)
    tokens = jnp.tile(jnp.arange(TIME + 1, dtype=jnp.int32), (BATCH, 1))

    @quick_jit
    def step(params, seed):
        def loss(p):
            output, _ = apply(model, p, state, tokens[:, :-1], True, seed)
            return sequence_loss(output.logits, tokens[:, 1:]).mean()

        value, grads = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - g, params, grads), value

    losses = []
    for seed in range(60):
        params, value = step(params, seed)
        losses.append(float(value))
    assert abs(losses[0] - np.log(VOCAB)) < 0.1
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_layers": 0}, "`num_layers` must be at least 1; got 0"),
        ({"embedding_size": 0}, "`embedding_size` must be at least 1"),
        ({"dropouts": NONE._replace(weight=1.0)}, r"dropout `weight` must be in \[0, 1\); got 1.0"),
        ({"dropouts": NONE._replace(input=-0.1)}, "dropout `input` must be in"),
    ],
)
def test_bad_sizes_and_rates_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        LSTMLanguageModel(VOCAB, **options)


@pytest.mark.parametrize("bad", [jnp.zeros((BATCH, TIME)), jnp.zeros(TIME, jnp.int32)])
def test_tokens_of_another_kind_are_named(bad):
    model, params, state = make()
    with pytest.raises(ValueError, match=r"`tokens` must be integers \[batch, time\]; got"):
        run(model, params, state, bad)


def test_another_batch_size_than_the_carry_is_named():
    model, params, state = make()
    with pytest.raises(ValueError, match=r"carried state must be \[2, 7\].*got \[3, 7\]"):
        run(model, params, state, tokens_of(0)[:2])


def test_logits_of_places_that_are_left_out_are_not_in_the_derivative():
    label = jnp.asarray([[0, 1], [2, -1]])
    logits = jnp.zeros((2, 2, 3)).at[1, 1].set(jnp.nan)
    loss, grad = jax.value_and_grad(lambda x: sequence_loss(x, label).sum())(logits)
    assert float(loss) == pytest.approx(2 * np.log(3)) and np.isfinite(grad).all()
    assert not np.any(grad[1, 1]) and np.any(grad[1, 0])
