"""What a trace says: its kernels, and the observer that makes one."""

from types import SimpleNamespace

import jax.numpy as jnp
import pytest

import gradtx
from gradtx.loop import Loop, fit
from gradtx.observers import kernels, profile

EVENT = lambda name, start, spent, **stats: SimpleNamespace(
    name=name, start_ns=start, duration_ns=spent, stats=list(stats.items())
)
PLANE = lambda name, **lines: SimpleNamespace(
    name=name, lines=[SimpleNamespace(name=k.replace("_", " "), events=v) for k, v in lines.items()]
)
HOST = PLANE("/host:CPU", thread=[EVENT("dot", 0, 5, hlo_op="dot"), EVENT("python", 0, 90)])
GPU = PLANE(
    "/device:GPU:0",
    Stream_13=[EVENT("loop_add_fusion", 10, 4), EVENT("cudnn_fprop", 20, 6)],
    Stream_14=[EVENT("input_transpose_fusion", 22, 10), EVENT("loop_add_fusion", 50, 2)],
    XLA_Modules=[EVENT("jit_step", 0, 100)],
)


def read(tmp_path, monkeypatch, *planes):
    (tmp_path / "a.xplane.pb").touch()
    data = SimpleNamespace(from_file=lambda path: SimpleNamespace(planes=list(planes)))
    monkeypatch.setattr(kernels, "ProfileData", data)
    return kernels.read_kernels(tmp_path)


def test_the_kernels_of_a_gpu_are_those_of_its_streams(tmp_path, monkeypatch):
    found = read(tmp_path, monkeypatch, HOST, GPU)
    assert found.calls == {"loop_add_fusion": 2, "cudnn_fprop": 1, "input_transpose_fusion": 1}
    # 10-14, 20-32 (two at a time from 22 to 26), 50-52: not more than there is time.
    assert (found.busy, found.span) == (4 + 12 + 2, 42)
    assert found.groups == {"transpose": 10, "elementwise": 6, "convolution": 6}
    lines = kernels.summary(found, 2)
    assert "2 kernels a step" in lines[0] and "(43%)" in lines[0]


def test_on_a_cpu_they_are_what_xla_has_run(tmp_path, monkeypatch):
    assert read(tmp_path, monkeypatch, HOST).nanoseconds == {"dot": 5}


def test_a_folder_without_a_trace_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`folder` must hold a trace .* got .*Name the"):
        kernels.read_kernels(tmp_path)


def apply(params, model_state, batch, *, key, training):
    return batch["x"] @ params["w"], model_state


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_a_fit_leaves_a_trace_of_its_steps(tmp_path, steps_per_execution):
    loop = Loop(apply=apply, loss=lambda pred, batch: pred**2, tx=gradtx.sgd(0.1))
    state, said = loop.init({"w": jnp.ones(3)}), []
    batches = [{"x": jnp.ones((2, 3))}] * 12
    observer = profile(tmp_path, 3, after=2, say=said.append)
    run = {"epochs": 1, "steps_per_execution": steps_per_execution}
    fit(loop, state, batches, observers=[observer], **run)
    assert said[0].startswith("Profile of 3 steps:") and list(tmp_path.rglob("*.xplane.pb"))
    short = profile(tmp_path, 3, after=20, say=said.append)
    fit(loop, state, batches, observers=[short], **run)
    assert said[-1].startswith("No profile: the fit has ended before 20 steps")


def test_at_least_one_step():
    with pytest.raises(ValueError, match=r"profile: `steps` and `after` must be at least 1"):
        profile("x", 0)
