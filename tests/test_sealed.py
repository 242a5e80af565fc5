"""JSON with digests: what was written is read, and everything else is named."""

import json
import os

import pytest

from gradtx.sealed import (
    Altered,
    Chain,
    Damaged,
    read_json,
    read_records,
    write_json,
    write_records,
)

ENTRIES = {"b": [1, 0.1, None, True], "a": {"name": "größe\udcff\u2028"}}


def test_what_is_written_is_read_in_its_order_and_without_the_digest(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, ENTRIES | {"path": tmp_path})
    assert [*read_json(path).items()] == [*ENTRIES.items(), ("path", str(tmp_path))]
    assert [*json.loads(path.read_text())][-1] == "digest"


def test_a_flipped_bit_of_a_value_is_found(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"std": [0.25], "name": "cat"}, indent=None)
    whole = path.read_bytes()
    for at in range(0, 8 * len(whole), 7):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(bytes(flipped))
        try:
            found = read_json(path)
        except Damaged:
            continue
        # Only white space, or the name of the digest, which is then an entry that nobody knows.
        assert found == {"std": [0.25], "name": "cat"} or len(found) == 3


def test_what_a_person_edits_counts_without_the_digest(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    sealed = json.loads(path.read_text())
    path.write_text(json.dumps(sealed | {"a": 2}))
    with pytest.raises(Altered, match="altered") as caught:
        read_json(path)
    assert caught.value.entries == {"a": 2}
    path.write_text('{"a": 2}')
    assert read_json(path) == {"a": 2}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "an empty file"),
        (b" \n", "an empty file"),
        (b"{", "what is no JSON"),
        (b"\xff{}", "what is no text"),
        ('{"a": 1}'.encode("utf-16"), "what is no text"),
        (b'\xef\xbb\xbf{"a": 1}', "what is no JSON"),
        (b"[1]", "JSON that is no object"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested too deep"),
        (b'{"a": ' + b"1" * 5000 + b"}", "what is no JSON"),
    ],
)
def test_something_else_is_named(tmp_path, data, said):
    (tmp_path / "x").write_bytes(data)
    for read in (read_json, read_records):
        with pytest.raises(Damaged, match=said if data.strip() else "an empty file|no JSON"):
            read(tmp_path / "x")


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "link")
    for path, said in [
        (tmp_path, "no file"),
        (tmp_path / "pipe", "no file"),
        (tmp_path / "none", "none"),
        (tmp_path / "link", "cannot be read"),
        (tmp_path / ("x" * 5000), "cannot be read"),
    ]:
        with pytest.raises(Damaged, match=said):
            read_json(path)


def test_records_are_all_there_or_damaged(tmp_path):
    path = tmp_path / "x.jsonl"
    records = [{"index": i} for i in range(3)]
    write_records(path, records)
    assert read_records(path) == records
    lines = path.read_text().splitlines(keepends=True)
    for wrong in (lines[:2], lines[1:], lines[::-1], [*lines, lines[2]], lines[:1] * 3):
        path.write_text("".join(wrong))
        with pytest.raises(Damaged, match="altered"):
            read_records(path)
    path.write_text('{"index": 7}\n')
    assert read_records(path) == [{"index": 7}]


def test_a_chain_goes_on_where_it_was_left():
    chain = Chain()
    lines = [json.loads(chain.seal({"step": i})) for i in range(3)]
    follower = Chain()
    assert [follower.follows(dict(line)) for line in lines] == [True] * 3
    assert Chain(lines[0]["digest"]).follows(dict(lines[1]))
    assert not Chain(lines[0]["digest"]).follows(dict(lines[2]))
    assert not Chain().follows({"step": 0})
