"""`--batch-size auto`: the largest batch that fits, found from compiled programs."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx.config import parse
from gradtx.loop import Loop
from gradtx.run import batch_size, largest_batch_size, step_bytes
from tests.run import test_launch as script

BATCH = {"x": np.ones((2, 64), np.float32), "label": np.ones(2, np.float32)}


def apply(params, model_state, batch, *, key, training):
    return jnp.tanh(jnp.tanh(batch["x"] @ params["a"]) @ params["a"]) @ params["w"], model_state


@pytest.fixture(scope="module")
def problem():
    loop = Loop(apply=apply, loss=script.loss, tx=gradtx.adam(0.1))
    return loop, loop.init({"a": jnp.eye(64), "w": jnp.ones(64)})


def test_the_largest_that_fits_is_found(problem):
    need = lambda size: step_bytes(*problem, BATCH, size=size)
    assert need(8) < need(64) < need(512)
    found = largest_batch_size(*problem, BATCH, limit=need(100))
    assert found == 64
    assert need(found) <= need(100) < need(2 * found)
    assert largest_batch_size(*problem, BATCH, limit=need(100), multiple=3) == 96


def test_where_nothing_fits_it_says_so(problem):
    with pytest.raises(ValueError, match=r"a step of 1 example\(s\) must fit into 1,000 bytes"):
        largest_batch_size(*problem, BATCH, limit=1000)


def test_auto_is_refused_on_a_cpu_and_for_a_search(tmp_path, capsys):
    for argv, named in (
        ((), "`--batch-size auto` must have an accelerator"),
        (("--find-lr",), "`--batch-size auto` is for a training; got a search"),
    ):
        status = script.launch(
            script.Options,
            script.train,
            ["--batch-size", "auto", *argv, "--out", str(tmp_path / "a")],
        )
        assert status == 2 and named in capsys.readouterr().err
        assert not (tmp_path / "a").exists()


def test_a_script_is_asked_what_it_trains(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(batch_size, "device_memory", lambda prog: 4000)
    monkeypatch.setattr(batch_size, "TRIED", 8)
    out = tmp_path / "a"
    argv = ["--batch-size", "auto", "--epochs", "1", "--microbatches", "2", "--out", str(out)]

    def train(options, run):
        loop = Loop(
            apply=script.apply,
            loss=script.loss,
            tx=gradtx.sgd(0.1),
            microbatches=options.microbatches,
        )
        batches = lambda epoch, start: [
            {name: x[: options.batch_size] for name, x in script.DATA.items()}
        ]
        source = script.BatchSource(batches, lambda: [script.DATA], 1, "plane", None)
        run.fit(script.fit, loop, loop.init({"w": jnp.zeros(3)}), source)

    assert script.launch(script.Options, train, argv) == 0
    made = json.loads((out / "config.json").read_text())["batch_size"]
    assert made >= 2 and made % 2 == 0 and made & (made - 1) == 0
    assert f"Batch size: {made}, the largest power of two a device" in capsys.readouterr().out


def test_the_command_says_auto_again():
    options = parse(script.Options, ["--batch-size", "auto"])
    assert options.batch_size == 0
    assert options.command() == "python plane.py --batch-size auto"
