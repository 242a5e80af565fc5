"""Each file of a run damaged at random: resume, predict and report name it or give the same."""

import contextlib
import io
import json
import random
import shutil

import pytest
from PIL import Image

import train as script
from gradtx.checkpoint import newest_intact
from gradtx.loop import History
from gradtx.observers import read_jsonl
from gradtx.report.__main__ import main as report
from tests.run.test_train_report import make_arrays

SMALL = "--dataset arrays --model mlp --size 4 --epochs 2 --batch-size 40 --save-every 1".split()
ENDED = ("faults.json", "validation.npz")  # which a run writes at its end
FILES = ("config.json", "data.json", "metrics.jsonl", "metrics.times.jsonl", *ENDED)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The directory of a finished run, "whole", and of one that was killed, "killed"."""
    base = tmp_path_factory.mktemp("damage")
    images = make_arrays(base / "x.npz")
    Image.fromarray(images[0]).save(base / "image.png")
    argv = [*SMALL, "--data-dir", str(base / "x.npz"), "--out"]
    assert script.main([*argv, str(base / "whole")]) == 0
    # As a run is left that was killed in its second epoch, while it wrote a line.
    killed = shutil.copytree(base / "whole", base / "killed")
    for name in (*ENDED, "report.html"):
        (killed / name).unlink()
    shutil.rmtree(newest_intact(killed / "checkpoints")[0].path(killed / "checkpoints"))
    step = newest_intact(killed / "checkpoints")[0].step
    for name in ("metrics.jsonl", "metrics.times.jsonl"):
        lines = (killed / name).read_text().splitlines(keepends=True)
        kept = [
            x for x in lines if json.loads(x)["step"] < step + (json.loads(x)["kind"] == "epoch")
        ]
        (killed / name).write_text("".join(kept) + '{"kind": "ep')
    return base


@pytest.fixture(scope="module")
def wanted(base):
    """What the commands do with the two runs: the output of predict, and the report."""
    found = {}
    for which in ("whole", "killed"):
        run = shutil.copytree(base / which, base / "copies" / which / "run")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert script.main(["predict", str(run), str(base / "image.png")]) == 0
        assert report([str(run)]) == 0
        found[which] = said.getvalue().split("\n", 1)[1], page(run)
    return found


def flip(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]


def on_lines(change):
    def damage(data, rng):
        lines = data.splitlines(keepends=True)
        return b"".join(change(lines, rng.randrange(len(lines)), rng))

    return damage


def spoil_value(data, rng):
    """An entry of JSON becomes one of another type."""
    lines = data.decode().splitlines(keepends=True)
    if data[:2] == b"{\n":
        lines = ["".join(lines)]
    at = rng.randrange(len(lines))
    try:
        found = json.loads(lines[at])
    except ValueError:
        return b""
    wrong = [None, True, -1, 1e400, 10**30, "x", [], {}, [{}], {"a": {"b": 0}}, float("nan")]
    found[rng.choice([*found])] = rng.choice(wrong)
    lines[at] = json.dumps(found) + "\n"
    return "".join(lines).encode()


DAMAGE = {
    "bit": flip,
    "bits": lambda data, rng: flip(flip(flip(data, rng), rng), rng),
    "short": lambda data, rng: data[: rng.randrange(len(data))],
    "empty": lambda data, rng: b"",
    "zeros": lambda data, rng: bytes(len(data)),
    "noise": lambda data, rng: rng.randbytes(len(data)),
    "longer": lambda data, rng: data + rng.choice([b"\n", b"{}\n", b"\0", b"garbage"]),
    "inserted": lambda data, rng: data[: (i := rng.randrange(len(data)))] + b"1" + data[i:],
    "utf-16": lambda data, rng: data.decode("latin-1").encode("utf-16"),
    "bom": lambda data, rng: b"\xef\xbb\xbf" + data,
    "deep": lambda data, rng: b'{"a": ' + b"[" * 200_000,
    "deep and whole": lambda data, rng: b'{"a": ' * 900 + b"1" + b"}" * 900,
    "list": lambda data, rng: b"[1]\n",
    "lost line": on_lines(lambda lines, i, rng: lines[:i] + lines[i + 1 :]),
    "doubled line": on_lines(lambda lines, i, rng: lines[: i + 1] + lines[i:]),
    "shuffled": on_lines(lambda lines, i, rng: rng.sample(lines, len(lines))),
    "value": spoil_value,
}


def damage(path, kind, rng):
    if kind == "gone":
        path.unlink()
    elif kind == "directory":
        path.unlink()
        path.mkdir()
    else:
        data = path.read_bytes()
        path.write_bytes(DAMAGE[kind](data, rng))


def call(capsys, main, *argv):
    """The status and the last line of the errors: one line is all that may be said of damage."""
    capsys.readouterr()
    status = main([*map(str, argv)])
    out, errors = capsys.readouterr()
    assert "Traceback" not in errors and "Traceback" not in out
    return status, out, errors


def outcome(run):
    """What of a run must not change in silence."""
    path = run / "metrics.jsonl"
    history = read_jsonl(path) if path.exists() else History()
    leaves = newest_intact(run / "checkpoints")[1].leaves
    steps = {name: str(x) for name, x in history.steps.items()}
    return history.rows, steps, {name: leaf["digest"] for name, leaf in leaves.items()}


def page(run):
    """The report, without the name of the run."""
    return (run / "report.html").read_text()


def try_all(base, wanted, tmp_path, capsys, which, name, kind, seed):
    """One damage of one file: after it each command says so, or does what it did before."""
    rng = random.Random(f"{which} {name} {kind} {seed}")
    run = shutil.copytree(base / which, tmp_path / "run")
    before = (run / name).read_bytes()
    damage(run / name, kind, rng)
    if (run / name).is_file() and (run / name).read_bytes() == before:
        return
    predicted, reported = wanted[which]
    status, out, errors = call(capsys, script.main, "predict", run, base / "image.png")
    if status:
        assert status == 2 and name in errors and errors.count("\n") == 1, errors
    else:
        assert out.split("\n", 1)[1] == predicted
    status, out, errors = call(capsys, report, run)
    if status:
        assert status == 2 and name in errors and errors.count("\n") == 1, errors
    elif (run / name).exists():
        # Damaged times are said on the page, and are no part of the training.
        of_times = name == "metrics.times.jsonl"
        assert page(run) == reported or (which, name) == ("killed", "metrics.jsonl") or of_times
    status, out, errors = call(capsys, script.main, "--resume", run)
    if status:
        assert status == 2 and name in errors and errors.count("\n") == 1, errors
    else:
        *metrics, leaves = outcome(run)
        *other, same = outcome(base / "whole")
        assert leaves == same
        assert metrics == other or name in errors


def cases():
    for which in ("whole", "killed"):
        for name in FILES:
            if which == "whole" or name not in ENDED:
                text = not name.endswith(".npz")
                for kind in (*DAMAGE, "gone", "directory"):
                    if text or kind not in ("value", "utf-16"):
                        yield which, name, kind


@pytest.mark.thorough
@pytest.mark.parametrize("which, name, kind", [*cases()])
def test_damage_is_named_or_of_no_effect(base, wanted, tmp_path, capsys, which, name, kind):
    for seed in range(2 if kind in ("bit", "short", "value") else 1):
        try_all(base, wanted, tmp_path / str(seed), capsys, which, name, kind, seed)


@pytest.mark.parametrize("name, kind", [("metrics.jsonl", "bit"), ("data.json", "value")])
def test_some_damage_is_named(base, wanted, tmp_path, capsys, name, kind):
    try_all(base, wanted, tmp_path, capsys, "whole", name, kind, 0)
