"""The collectives of a program, read from its text, against programs whose needs are known."""

import json

import pytest

from benchmarks import scaling

TEXT = """
  %ar = (f32[10]{0}, bf16[4,2]{1,0}) all-reduce(%a, %b), channel_id=1, replica_groups=[1,8]<=[8], to
  %ag = f32[16,4]{1,0} all-gather(%p), channel_id=2, replica_groups={{0,1},{2,3}}, dimensions={0}
  %rs = f32[2,4]{1,0:T(8,128)} reduce-scatter(%p), replica_groups=mesh['x'=4,'y'=2] {'x'}, dimen
  %cp = f32[3]{0} collective-permute(%p), source_target_pairs={{0,1},{1,0}}
  %s = (f32[2,4]{1,0}, f32[8,4]{1,0}) all-gather-start(%p), replica_groups=[2,4]<=[8], dimen
  %d = f32[8,4]{1,0} all-gather-done(%s), metadata={op_name="all-gather("}
  %f = f32[8]{0} fusion(%all-reduce.1), kind=kLoop
"""


def test_the_collectives_of_a_text():
    assert scaling.collectives(TEXT) == [
        ("all-reduce", 56, 8),
        ("all-gather", 256, 2),
        ("reduce-scatter", 32, 4),
        ("collective-permute", 12, 2),
        ("all-gather", 128, 4),
    ]


def test_what_a_ring_sends_adds_up():
    """An all-reduce is a reduce-scatter and an all-gather."""
    n, size = 8, 1600
    parts = scaling.sent("reduce-scatter", size // n, n) + scaling.sent("all-gather", size, n)
    assert scaling.sent("all-reduce", size, n) == pytest.approx(parts)


@pytest.mark.thorough
def test_a_tiny_step_sends_its_gradient_and_little_else(tmp_path, capsys):
    out = tmp_path / "scaling.json"
    scaling.main(["--tiny", "--devices", "4", "--out", str(out)])
    data, fsdp = json.loads(out.read_text())["results"]
    assert data["mesh"] == "data=4" and fsdp["mesh"] == "fsdp=4"
    assert data["collectives"].keys() == {"all-reduce"}
    # The gradient, and for batch statistics a few vectors of 8 numbers.
    assert 1 <= data["bytes_sent"] / data["expected"] < 1.5
    assert "all-gather" in fsdp["collectives"] and fsdp["arguments"] < data["arguments"]
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_what_does_not_compile_is_said(tmp_path):
    args = scaling.parse(["--tiny", "--model", "absent"])
    assert "absent" in scaling.in_a_process(args, 2, "data=2")["error"]
