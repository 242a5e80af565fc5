"""The embedded text, its tokens, and batches that continue each other."""

import lzma
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradtx.data import text
from gradtx.data.errors import DataError
from gradtx.data.text import (
    build_text,
    count_batches,
    moby_dick,
    text_batches,
    tokenize,
    unigram_perplexity,
)

sizes = st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(2, 120))


@pytest.fixture(scope="module")
def book():
    return moby_dick()


def test_tokens_are_words_clitics_marks_and_paragraph_ends():
    got = tokenize("“Can’t sell 2 heads?—It’s\nHIS mast-head,”\n \n\n\nsaid he_\n")
    want = ["“", "can", "'t", "sell", "2", "heads", "?", "—", "it", "'s", "his", "mast", "-"]
    assert got == [*want, "head", ",", "”", "<eos>", "said", "he", "_", "<eos>"]
    assert tokenize(" \n\n ") == []


def test_the_book_is_the_recorded_one(book):
    assert book.name == "moby_dick"
    assert len(book.vocab) == 6242
    assert (book.train.size, book.valid.size) == (232_637, 25_848)
    assert book.train.dtype == book.valid.dtype == np.int32
    words = [book.vocab[i] for i in book.train[6:11]]
    assert words == ["call", "me", "ishmael", ".", "some"]
    assert [book.vocab[i] for i in book.valid[-4:]] == ["years", "ago", ".", "<eos>"]
    assert book.vocab[:3] == ("<unk>", ",", "the")
    assert not book.train.flags.writeable and not book.valid.flags.writeable


def test_the_book_is_the_same_every_time(book):
    again, other = moby_dick(), moby_dick(min_count=4)
    assert again.fingerprint == book.fingerprint != other.fingerprint
    assert again.vocab == book.vocab
    np.testing.assert_array_equal(again.train, book.train)


def test_unigram_perplexity_of_the_book(book):
    assert unigram_perplexity(book) == pytest.approx(372.44, abs=0.01)


def test_unigram_perplexity_by_hand():
    small = build_text("small", "a a a b b c", min_count=2, valid_fraction=0.3)
    assert small.vocab == ("<unk>", "a", "b")  # train: a a a b b; valid: c <eos>
    assert unigram_perplexity(small) == pytest.approx((5 + 3) / 1)


def test_the_vocabulary_comes_from_the_training_part_alone():
    small = build_text("small", "b a b a c c d whale whale", min_count=2, valid_fraction=0.3)
    assert small.vocab == ("<unk>", "a", "b", "c")
    np.testing.assert_array_equal(small.train, [2, 1, 2, 1, 3, 3, 0])
    np.testing.assert_array_equal(small.valid, [0, 0, 0])


def test_the_fingerprint_depends_on_the_split():
    content = "a b a b a b a b"
    one, two = (build_text("t", content, min_count=1, valid_fraction=f) for f in (0.2, 0.4))
    assert one.fingerprint != two.fingerprint


@pytest.mark.parametrize(
    ("options", "words"),
    [({"min_count": 0}, "`min_count` must be at least 1"), ({"valid_fraction": 1.0}, r"in \(0, 1")],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        build_text("t", "a b c", **options)


@pytest.mark.parametrize("content", ["", "word"])
def test_a_text_too_short_to_split_is_named(content):
    with pytest.raises(DataError, match="build_text: t must leave tokens for both parts; got"):
        build_text("t", content, valid_fraction=0.1)


def damage(tmp_path, monkeypatch, content):
    path = tmp_path / "moby_dick.txt.xz"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(text, "_MOBY_DICK", path)


def test_a_damaged_or_missing_file_is_an_error_that_names_it(tmp_path, monkeypatch):
    whole = text._MOBY_DICK.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    cases = {
        "missing": None,
        "is damaged or incomplete": whole[:-100],
        "damaged": bytes(flipped),
        "sha256 .*expected fe282a57": lzma.compress(b"another text"),
    }
    for words, content in cases.items():
        damage(tmp_path, monkeypatch, content)
        with pytest.raises(DataError, match=f"moby_dick.txt.xz.*{words}"):
            moby_dick()


@given(sizes)
def test_each_row_goes_on_where_it_ended(size):
    """Whatever the sizes, rows joined over batches are contiguous pieces of the text."""
    batch_size, length, n = size
    tokens = np.arange(n) + 7
    if n - 1 < batch_size * length:
        with pytest.raises(DataError, match="needs at least"):
            text_batches(tokens, batch_size=batch_size, length=length)
        return
    batches = list(text_batches(tokens, batch_size=batch_size, length=length))
    assert len(batches) == count_batches(tokens, batch_size=batch_size, length=length)
    inputs = np.concatenate([b["input"] for b in batches], axis=1)
    labels = np.concatenate([b["label"] for b in batches], axis=1)
    for row in range(batch_size):
        begin = row * ((n - 1) // batch_size)
        np.testing.assert_array_equal(inputs[row], tokens[begin : begin + inputs.shape[1]])
    np.testing.assert_array_equal(labels, inputs + 1)
    assert n - inputs.size < batch_size * (length + 1) + 1
    for batch in batches:
        assert {k: (v.dtype.name, v.shape) for k, v in batch.items()} == {
            "input": ("int32", (batch_size, length)),
            "label": ("int32", (batch_size, length)),
            "weight": ("float32", (batch_size,)),
        }
        np.testing.assert_array_equal(batch["weight"], 1)


@given(sizes)
def test_padded_batches_hold_each_label_once(size):
    batch_size, length, n = size
    tokens = np.arange(n)
    batches = list(text_batches(tokens, batch_size=batch_size, length=length, pad=True))
    assert len(batches) == count_batches(tokens, batch_size=batch_size, length=length, pad=True)
    inputs = np.concatenate([b["input"] for b in batches], axis=1)
    labels = np.concatenate([b["label"] for b in batches], axis=1)
    np.testing.assert_array_equal(labels[labels >= 0], np.arange(1, n))
    np.testing.assert_array_equal(inputs[labels >= 0], np.arange(n - 1))
    assert not inputs[labels < 0].any()
    for batch in batches:
        np.testing.assert_allclose(batch["weight"] * length, (batch["label"] >= 0).sum(axis=1))


def test_weighted_row_means_give_the_mean_over_tokens():
    tokens = np.arange(30)
    total = weight = 0.0
    for batch in text_batches(tokens, batch_size=4, length=3, pad=True):
        real = batch["label"] >= 0
        losses = np.where(real, np.sqrt(np.maximum(batch["label"], 0)), 0)
        total += (losses.sum(axis=1) / np.maximum(real.sum(axis=1), 1)) @ batch["weight"]
        weight += batch["weight"].sum()
    assert math.isclose(total / weight, np.sqrt(np.arange(1, 30)).mean(), rel_tol=1e-6)


@pytest.mark.parametrize("pad", [False, True])
def test_batches_resume_at_any_number(pad):
    options = {"batch_size": 3, "length": 4, "pad": pad}
    tokens = np.arange(70)
    whole = list(text_batches(tokens, **options))
    for start in range(len(whole) + 1):
        rest = list(text_batches(tokens, start=start, **options))
        assert len(rest) == len(whole) - start
        for got, want in zip(rest, whole[start:], strict=True):
            for key in want:
                np.testing.assert_array_equal(got[key], want[key])
    for start in (-1, len(whole) + 1):
        with pytest.raises(ValueError, match=rf"`start` must be in \[0, {len(whole)}\].*{start}"):
            text_batches(tokens, start=start, **options)


def test_a_text_too_short_for_a_batch_is_named_at_once():
    with pytest.raises(DataError, match="4 rows and length 5 needs at least 21 tokens; got 20"):
        text_batches(np.arange(20), batch_size=4, length=5)
    assert len(list(text_batches(np.arange(21), batch_size=4, length=5))) == 1
    with pytest.raises(DataError, match="at least 2 tokens; got 1"):
        text_batches(np.arange(1), batch_size=4, length=5, pad=True)


@pytest.mark.parametrize("bad", [np.zeros(9), np.zeros((3, 3), np.int32)])
def test_tokens_of_another_kind_are_named(bad):
    with pytest.raises(ValueError, match=r"must be a 1-D array of integers; got .*\["):
        text_batches(bad, batch_size=1, length=1)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0, "length": 1}, {"batch_size": 1, "length": 0}]
)
def test_sizes_below_one_are_named(options):
    with pytest.raises(ValueError, match="must be at least 1; got"):
        text_batches(np.arange(9), **options)
