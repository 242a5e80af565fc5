"""A small word-level language-modeling corpus that comes with the package, and its batches.

The text is Melville's *Moby-Dick* (public domain; see MOBY_DICK_LICENSE beside this file).
"""

import hashlib
import lzma
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gradtx.data.errors import DataError

UNKNOWN = "<unk>"
END_OF_PARAGRAPH = "<eos>"
IGNORED = -1  # the label of a padded position

_MOBY_DICK = Path(__file__).with_name("moby_dick.txt.xz")
_MOBY_DICK_SHA256 = "fe282a57094ed62e7144fb7c804a9748fc1c909bf3b49d06e7276015f9f67240"
_TOKEN = re.compile(r"[^\W_]+|'[^\W\d_]+|\S")


@dataclass(frozen=True, eq=False)
class Text:
    """A tokenized text, cut into a part to train on and a later part to validate on.

    Args:
        name: of the text.
        vocab: the word of each token: `vocab[i]` is that of token `i`, and `vocab[0]` is `<unk>`.
        train: read-only int32[n], the tokens to train on.
        valid: read-only int32[m], the tokens to validate on.
        fingerprint: a sha256 of the vocabulary and both parts: equal fingerprints mean equal data.
    """

    name: str
    vocab: tuple[str, ...]
    train: np.ndarray
    valid: np.ndarray
    fingerprint: str


def tokenize(text: str) -> list[str]:
    """Split a text into lower-case words, clitics and single punctuation marks.

    A token is a run of letters and digits, an apostrophe with the letters that follow it, or any
    other single visible character. The typographic apostrophe counts as the plain one. Blank lines
    separate paragraphs, and every paragraph ends in `<eos>`.

    >>> tokenize("The whale's mast-head.")
    ['the', 'whale', "'s", 'mast', '-', 'head', '.', '<eos>']

    Args:
        text: any text; its line breaks within a paragraph count as spaces.
    """
    tokens = []
    for paragraph in re.split(r"\n\s*\n", text.lower().replace("’", "'")):
        if words := _TOKEN.findall(paragraph):
            tokens += [*words, END_OF_PARAGRAPH]
    return tokens


def build_text(name: str, content: str, *, min_count: int = 3, valid_fraction: float = 0.1) -> Text:
    """Tokenize `content`, hold out its end, and number the words by their frequency.

    The last `valid_fraction` of the tokens is the validation part. The vocabulary is `<unk>`, then
    the words seen at least `min_count` times in the training part, the most frequent first and
    ties in alphabetical order, so nothing of the validation part leaks into it.

    Args:
        name: of the text, for messages.
        content: the text itself.
        min_count: how often the training part must have a word of the vocabulary, at least 1.
        valid_fraction: the share of the tokens that are for validation, in (0, 1).

    Raises:
        ValueError: if `min_count` is below 1 or `valid_fraction` is outside (0, 1).
        DataError: if a part would be empty.
    """
    if min_count < 1:
        raise ValueError(
            f"build_text: `min_count` must be at least 1; got {min_count}. Pass 1 for all words."
        )
    if not 0 < valid_fraction < 1:
        raise ValueError(
            f"build_text: `valid_fraction` must be in (0, 1); got {valid_fraction}. Choose a share,"
            " such as 0.1."
        )
    tokens = tokenize(content)
    cut = len(tokens) - round(len(tokens) * valid_fraction)
    if not 0 < cut < len(tokens):
        raise DataError(
            f"build_text: {name} must leave tokens for both parts; got {len(tokens)} in all and "
            f"valid_fraction={valid_fraction}. Give a longer text or another fraction."
        )
    counts = Counter(tokens[:cut])
    words = sorted(w for w, n in counts.items() if n >= min_count)
    vocab = (UNKNOWN, *sorted(words, key=lambda w: -counts[w]))
    number = {word: i for i, word in enumerate(vocab)}
    ids = np.array([number.get(token, 0) for token in tokens], np.int32)
    ids.setflags(write=False)
    train, valid = ids[:cut], ids[cut:]
    return Text(name, vocab, train, valid, _fingerprint(vocab, train, valid))


def moby_dick(*, min_count: int = 3, valid_fraction: float = 0.1) -> Text:
    """The embedded text of *Moby-Dick*: 258,485 tokens, at the defaults 6,242 words in `vocab`.

    The text's digest is checked at each call.

    Args:
        min_count: how often the training part must have a word of the vocabulary, at least 1.
        valid_fraction: the share of the tokens that are for validation, in (0, 1).

    Raises:
        ValueError: as `build_text`.
        DataError: if the embedded file is missing or damaged.

    Source: Melville (1851), in the public domain.
    """
    content = _read_verified(_MOBY_DICK, sha256=_MOBY_DICK_SHA256)
    return build_text(
        "moby_dick", content.decode(), min_count=min_count, valid_fraction=valid_fraction
    )


def text_batches(
    tokens: np.ndarray, *, batch_size: int, length: int, start: int = 0, pad: bool = False
) -> Iterator[dict[str, np.ndarray]]:
    """Batches for truncated backpropagation through time, from batch number `start` on.

        stream[b] = tokens[b n : b n + n + 1]
        input  of batch k, row b = stream[b][k T : k T + T]            T = length
        label  of batch k, row b = stream[b][k T + 1 : k T + T + 1]

    So row b of batch k + 1 continues where row b of batch k ended, and the hidden state may be
    carried over. The order is that of the text: there is nothing random in it.

    Yields dicts of `input` int32[batch_size, length], `label` int32[batch_size, length] and
    `weight` float32[batch_size], the share of a row's labels that are real (1 without padding).
    The weighted mean over rows of each row's mean loss is then the mean over tokens.

    Args:
        tokens: int[n], such as `Text.train`.
        batch_size: how many streams the tokens are cut into, the rows of a batch.
        length: T, how many tokens of each stream a batch has.
        start: the number of batches to leave out at the beginning.
        pad: what happens to the tail. False (training): all positions are real, and fewer than
            batch_size * (length + 1) tokens at the ends of the streams are left out. True
            (validation): each token but the first is a label exactly once; positions past the end
            of a stream have input 0 and label `IGNORED` (-1), which the loss must leave out.

    Raises:
        ValueError: if `tokens` isn't a row of integers, or a size or `start` is out of range.
        DataError: if `tokens` is too short for a single batch.
    """
    steps = count_batches(tokens, batch_size=batch_size, length=length, pad=pad)
    if not 0 <= start <= steps:
        raise ValueError(
            f"text_batches: `start` must be in [0, {steps}], the number of batches; got {start}."
            " Begin within them."
        )
    inputs, labels = _streams(tokens, batch_size=batch_size, width=steps * length, pad=pad)
    return _slices(inputs, labels, length=length, numbers=range(start, steps))


def count_batches(tokens: np.ndarray, *, batch_size: int, length: int, pad: bool = False) -> int:
    """The number of batches that `text_batches` yields from `start=0`.

        n // length   if not pad,   with n = (tokens - 1) // batch_size   labels for each stream
        ceil(n / length)   if pad,  with n = ceil((tokens - 1) / batch_size)

    Args:
        tokens: int[n], such as `Text.train`.
        batch_size: the rows of a batch.
        length: how many tokens of each row a batch has.
        pad: whether the tail is filled up, as for `text_batches`.

    Raises:
        ValueError, DataError: as for `text_batches`.
    """
    tokens = np.asarray(tokens)
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(
            "text_batches: `tokens` must be a 1-D array of integers; "
            f"got {tokens.dtype}{list(tokens.shape)}. Pass those of one text, such as `Text.train`."
        )
    if batch_size < 1 or length < 1:
        raise ValueError(
            "text_batches: `batch_size` and `length` must be at least 1; "
            f"got {batch_size} and {length}. Pass 1 or more."
        )
    labels = tokens.size - 1
    needed = 1 if pad else batch_size * length
    if labels < needed:
        raise DataError(
            f"text_batches: one batch of {batch_size} rows and length {length} needs at least "
            f"{needed + 1} tokens; got {tokens.size}. Take a longer text or smaller batches."
        )
    if pad:
        return -(-_stream_labels(labels, batch_size, pad=True) // length)
    return _stream_labels(labels, batch_size, pad=False) // length


def unigram_perplexity(text: Text) -> float:
    """Perplexity on the validation part of the words' frequencies in the training part.

        exp(-mean log p(w))    p(w) = (count(w) + 1) / (len(train) + len(vocab))

    What a model reaches that ignores the context: the figure to beat.

    Args:
        text: the text, with a part to train on and one to validate on.
    """
    counts = np.bincount(text.train, minlength=len(text.vocab))
    log_p = np.log((counts + 1) / (text.train.size + len(text.vocab)))
    return float(np.exp(-log_p[text.valid].mean()))


def _stream_labels(labels: int, batch_size: int, *, pad: bool) -> int:
    return -(-labels // batch_size) if pad else labels // batch_size


def _streams(tokens, *, batch_size, width, pad):
    """Inputs and labels of each stream: two int32[batch_size, width]."""
    tokens = np.asarray(tokens, np.int32)
    n = _stream_labels(tokens.size - 1, batch_size, pad=pad)
    inputs = np.zeros((batch_size, width), np.int32)
    labels = np.full((batch_size, width), IGNORED, np.int32)
    for row in range(batch_size):
        stream = tokens[row * n : row * n + min(n, width) + 1]
        size = max(stream.size - 1, 0)
        inputs[row, :size] = stream[:size]
        labels[row, :size] = stream[1:]
    return inputs, labels


def _slices(inputs, labels, *, length, numbers):
    for k in numbers:
        here = slice(k * length, (k + 1) * length)
        label = labels[:, here]
        weight = (label != IGNORED).mean(axis=1, dtype=np.float32)
        yield {"input": inputs[:, here], "label": label, "weight": weight}


def _fingerprint(vocab, train, valid) -> str:
    digest = hashlib.sha256("\n".join(vocab).encode())
    for part in (train, valid):
        digest.update(f"\n{part.size}\n".encode())
        digest.update(part.astype("<i4").tobytes())
    return digest.hexdigest()


def _read_verified(path: Path, *, sha256: str) -> bytes:
    try:
        content = lzma.decompress(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(
            f"moby_dick: {path.name} must lie beside text.py; it is missing. Install gradtx again."
        ) from error
    except lzma.LZMAError as error:
        raise DataError(
            f"moby_dick: {path.name} is damaged or incomplete ({error}). Install gradtx again."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"moby_dick: {path.name} is damaged or incomplete ({len(content)} bytes, sha256 "
            f"{found[:8]}...; expected {sha256[:8]}...). Install gradtx again."
        )
    return content
