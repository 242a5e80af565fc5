"""A recurrent language model with the dropouts of AWD-LSTM, in Flax linen.

The hidden state lives in the `carry` collection, beside the parameters and outside of them, as
batch statistics do: it is given to a call and the next one is handed back.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype


class Output(NamedTuple):
    """What `LSTMLanguageModel` returns, all [batch, time, ...].

    `logits` are over the vocabulary. `raw` is the last layer's output and `dropped` the same after
    dropout: a regularizer of activations (AR) looks at `dropped`, one of their change over time
    (TAR) at `raw`.
    """

    logits: jax.Array
    raw: jax.Array
    dropped: jax.Array


class Dropouts(NamedTuple):
    """The share dropped in each place, in [0, 1); the defaults suit five epochs over a megabyte.

    `embedding`: whole words of the embedding matrix. `input`: what the first layer sees.
    `weight`: single hidden-to-hidden weights. `hidden`: between the layers. `output`: after the
    last layer. One mask serves a whole batch for the first and third and all time steps of a row
    for the others; all are drawn anew for each batch.
    """

    embedding: float = 0.02
    input: float = 0.15
    weight: float = 0.1
    hidden: float = 0.1
    output: float = 0.15


def _uniform(bound: float):
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


class LSTM(nn.Module):
    """One LSTM layer whose state is carried from call to call.

        z = x[:, t] input_kernel + h drop(hidden_kernel) + bias,    i, f, g, o = the quarters of z
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(c')

    `drop` sets single weights to zero with probability `weight_dropout`, the same ones at all time
    steps, and scales up the rest. No gradient flows through the incoming `h` and `c`.

    Shapes: `x` [batch, time, inputs] to [batch, time, features] in `dtype`; collection `carry`
    holds `h` and `c`, float32[batch, features]. Sums over inputs run in `dtype`, the gates and the
    state in float32. Parameters start uniform in +-1 / sqrt(features), PyTorch's default, with one
    bias in place of its two.

    Raises:
        ValueError: if the carried state is for another batch size.
    Source: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000); weight
    dropout from Merity et al. (2018), section 2, after Wan et al. (2013), DropConnect.
    """

    features: int
    weight_dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Run over the time axis of `x`; `train` switches the weight dropout on."""
        width = 4 * self.features
        init = _uniform(self.features**-0.5)
        input_kernel = self.param("input_kernel", init, (x.shape[-1], width), self.param_dtype)
        hidden_kernel = self.param("hidden_kernel", init, (self.features, width), self.param_dtype)
        bias = self.param("bias", init, (width,), self.param_dtype)
        hidden_kernel = nn.Dropout(self.weight_dropout)(hidden_kernel, deterministic=not train)
        x, input_kernel, hidden_kernel, bias = promote_dtype(
            x, input_kernel, hidden_kernel, bias, dtype=self.dtype
        )

        state = (len(x), self.features)
        h = self.variable("carry", "h", jnp.zeros, state, jnp.float32)
        c = self.variable("carry", "c", jnp.zeros, state, jnp.float32)
        _check_batch(h.value.shape, state)
        # The inputs of all time steps at once: one large product instead of many small ones.
        projected = x @ input_kernel + bias[None, None]
        carry, outputs = _scan(jax.lax.stop_gradient((h.value, c.value)), projected, hidden_kernel)
        if self.is_mutable_collection("carry") and not self.is_initializing():
            h.value, c.value = carry
        return outputs


def _scan(carry, projected, hidden_kernel):
    """Fold the cell over time; both `projected` and the outputs are batch-major."""

    def cell(carry, z):
        h, c = carry
        z = (z + h.astype(z.dtype) @ hidden_kernel).astype(jnp.float32)
        i, f, g, o = jnp.split(z, 4, axis=-1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        h = nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h.astype(projected.dtype)

    carry, outputs = jax.lax.scan(cell, carry, projected.swapaxes(0, 1))
    return carry, outputs.swapaxes(0, 1)


class LSTMLanguageModel(nn.Module):
    """Embedding, LSTM layers and a decoder, with the dropouts of AWD-LSTM between them.

        x = locked(drop_words(embedding)[tokens], input)
        x = locked(lstm(x), hidden)             for each layer but the last
        raw = lstm(x)
        dropped = locked(raw, output)
        logits = dropped decoder + bias         decoder = embedding^T if tied

    `locked` dropout uses one mask for all time steps of a row. With `tie_weights` the last layer
    has `embedding_size` features, otherwise `hidden_size`. Call it with

        output, state = model.apply({"params": params, **state}, tokens, train=True,
                                    rngs={"dropout": key}, mutable=["carry"])

    and hand `state` to the next batch, whose rows go on where those of this batch ended. `init`
    leaves the carry at zero, for the batch size of its tokens.

    Shapes and dtypes: `tokens` int[batch, time]; see `Output`. Results are in `dtype` (None: that
    of the parameters), parameters in `param_dtype`, the carry always in float32.

    Raises:
        ValueError: if a size is below 1, a dropout is outside [0, 1), `tokens` isn't int[batch,
            time], or the batch size differs from that of the carry.
    Source: Merity et al. (2018), "Regularizing and Optimizing LSTM Language Models"; locked
    dropout from Gal and Ghahramani (2016), tied weights from Press and Wolf (2017).
    """

    vocab_size: int
    embedding_size: int = 200
    hidden_size: int = 256
    num_layers: int = 1
    dropouts: Dropouts = Dropouts()
    tie_weights: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def __post_init__(self):
        """Check the sizes and rates before anything is traced."""
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"LSTMLanguageModel: `{name}` must be at least 1; got {getattr(self, name)}."
                    " Choose a size."
                )
        for name, rate in zip(Dropouts._fields, self.dropouts, strict=True):
            if not 0 <= rate < 1:
                raise ValueError(
                    f"LSTMLanguageModel: dropout `{name}` must be in [0, 1); got {rate}."
                    " Choose a share, 0 for none."
                )
        super().__post_init__()

    @nn.compact
    def __call__(self, tokens: jax.Array, *, train: bool) -> Output:
        """Return logits for the token after each one; `train` switches all dropouts on."""
        _check_tokens(tokens)
        rates = Dropouts(*self.dropouts)
        shape = (self.vocab_size, self.embedding_size)
        embedding = self.param("embedding", _uniform(0.1), shape, self.param_dtype)

        x = self._embed(embedding, tokens, rate=rates.embedding, train=train)
        x = self._locked(rates.input, "input_dropout")(x, deterministic=not train)
        for i in range(self.num_layers):
            last = i == self.num_layers - 1
            x = LSTM(
                self.embedding_size if last and self.tie_weights else self.hidden_size,
                weight_dropout=rates.weight,
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=f"lstm_{i}",
            )(x, train=train)
            if not last:
                x = self._locked(rates.hidden, f"hidden_dropout_{i}")(x, deterministic=not train)
        dropped = self._locked(rates.output, "output_dropout")(x, deterministic=not train)
        return Output(self._decode(dropped, embedding), x, dropped)

    def _locked(self, rate, name):
        return nn.Dropout(rate, broadcast_dims=(1,), name=name)

    def _embed(self, embedding, tokens, *, rate, train):
        ones = jnp.ones((self.vocab_size, 1), embedding.dtype)
        keep = nn.Dropout(rate, name="embedding_dropout")(ones, deterministic=not train)
        return jnp.take(embedding, tokens, axis=0) * jnp.take(keep, tokens, axis=0)

    def _decode(self, x, embedding):
        if self.tie_weights:
            kernel = embedding.T
        else:
            shape = (x.shape[-1], self.vocab_size)
            kernel = self.param("decoder_kernel", _uniform(0.1), shape, self.param_dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.vocab_size,), self.param_dtype)
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return x @ kernel + bias[None, None]


def sequence_loss(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Each row's mean cross-entropy over its labels; negative labels are left out.

        loss[b] = sum over t with label[b, t] >= 0 of -log softmax(logits[b, t])[label[b, t]] / n[b]

    n[b] is the number of such t; a row without any has loss 0. Logits of a place that is left out
    are in neither the loss nor its derivative, whatever they are. The exponential of the mean over
    all labels is the perplexity. Shapes and dtypes: float[batch, time, vocabulary] and int[batch,
    time] to float32[batch]; computed in float32 whatever the logits are.
    """
    real = label >= 0
    logits = jnp.where(real[..., None], logits.astype(jnp.float32), 0)
    index = jnp.where(real, label, 0)[..., None]
    chosen = jnp.take_along_axis(logits, index, axis=-1)[..., 0]
    losses = jnp.where(real, jax.nn.logsumexp(logits, axis=-1) - chosen, 0)
    return losses.sum(axis=-1) / jnp.maximum(real.sum(axis=-1), 1).astype(jnp.float32)


def _check_tokens(tokens):
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ValueError(
            "LSTMLanguageModel: `tokens` must be integers [batch, time]; "
            f"got {tokens.dtype}{list(tokens.shape)}. Pass the numbers of words."
        )


def _check_batch(carried, wanted):
    if carried != wanted:
        raise ValueError(
            f"LSTM: the carried state must be {list(wanted)} for these inputs; got "
            f"{list(carried)}. Pad the batch to the size that `init` saw, or init anew."
        )
