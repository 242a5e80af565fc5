"""A run's model as files: the same numbers by the bit, without gradtx."""

import jax
import numpy as np
import pytest

import gradtx.checkpoint
from gradtx.__main__ import main
from gradtx.data.image_spec import ImageSpec
from gradtx.models import IMAGE_MODELS
from gradtx.run import TrainOptions, export, image_model, load_exported, predict_images
from gradtx.run.directory import write_config
from tests.markdown import ROOT, blocks

SPEC = ImageSpec("toy", "1", ("cat", "dog", "eel"), 1, (0.3,), (0.2,), size=12, photos=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What a training leaves, of a model whose state is not its first."""
    folder = tmp_path_factory.mktemp("run")
    options = TrainOptions(model="resnet_tiny")
    model = image_model(options, SPEC, IMAGE_MODELS)
    params, model_state = model.init(jax.random.key(1))
    model_state = jax.tree.map(lambda x: x + 0.1, model_state)
    state = {"params": params, "model_state": model_state}
    write_config(options, folder / "config.json")
    SPEC.write(folder / "data.json")
    gradtx.checkpoint.save(folder / "checkpoints", state, step=1)
    return folder, model, state


@pytest.mark.parametrize("name, head", [("mlp", "plain"), ("resnet_tiny", "concat")])
def test_every_kind_of_model_is_exported(name, head, tmp_path):
    options = TrainOptions(model=name, head=head)
    model = image_model(options, SPEC, IMAGE_MODELS)
    params, model_state = model.init(jax.random.key(1))
    write_config(options, tmp_path / "config.json")
    SPEC.write(tmp_path / "data.json")
    state = {"params": params, "model_state": model_state}
    gradtx.checkpoint.save(tmp_path / "checkpoints", state, step=1)
    images = np.random.default_rng(0).random((2, 12, 12, 1), np.float32)
    got = load_exported(export(tmp_path, platforms=["cpu"]))(images)
    normal = (images - np.float32(0.3)) / np.float32(0.2)
    np.testing.assert_allclose(got, predict_images(model.apply, **state, images=normal), rtol=1e-5)


def test_a_program_gives_what_the_model_gives(run, tmp_path):
    folder, model, state = run
    images = np.random.default_rng(0).random((5, 12, 12, 1), np.float32)
    found = load_exported(export(folder, tmp_path / "a"))
    got = found(images)
    normal = (images - np.float32(0.3)) / np.float32(0.2)
    want = predict_images(model.apply, **state, images=normal)
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-7)  # another form of convolutions
    assert found.classes == SPEC.classes and (found.size, found.channels) == (12, 1)
    again = load_exported(tmp_path / "a")
    np.testing.assert_array_equal(again(images), got)
    np.testing.assert_array_equal(again(images[:2]).shape, (2, 3))


def test_arrays_are_the_checkpoints_by_the_bit_and_need_no_gradtx(run, tmp_path, monkeypatch):
    from safetensors.numpy import load_file

    folder, _, state = run
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(folder), "--out", "exported"]) == 0
    arrays = load_file("exported/model.safetensors")
    flat = {"params": state["params"], **state["model_state"]}
    want = {"/".join(k.key for k in path): x for path, x in jax.tree.leaves_with_path(flat)}
    assert arrays.keys() == want.keys()
    for name, x in want.items():
        np.testing.assert_array_equal(arrays[name], x)
    (shown,) = (s for _, s in blocks(ROOT / "docs" / "checkpoints.md") if '"exported"' in s)
    exec(shown, page := {})
    program = page["program"]
    assert set(program.platforms) == {"cpu", "cuda", "tpu"} and page["p"].shape == (2, 3)
    images = np.random.default_rng(0).random((2, 12, 12, 1), np.float32)
    got = jax.jit(program.call)(arrays, images)
    np.testing.assert_array_equal(got, load_exported("exported")(images))


@pytest.mark.parametrize("name", ["model.jax", "model.safetensors", "model.json"])
def test_a_damaged_file_is_refused(run, tmp_path, name):
    export(run[0], tmp_path, platforms=("cpu",))
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"load_exported: `folder` must be what export has writ"):
        load_exported(tmp_path)


@pytest.mark.parametrize(
    ("options", "got"),
    [(TrainOptions(find_lr=True), ", a search. "), (TrainOptions(model="lstm"), ", one on text. ")],
)
def test_another_kind_of_run_has_no_model_of_images(options, got, tmp_path, capsys):
    write_config(options, tmp_path / "config.json")
    assert main(["export", str(tmp_path)]) == 2
    must = "error: export: `run` must be a training on images; got"
    assert capsys.readouterr().err.startswith(f"{must} {tmp_path}{got}")
    assert main(["predict", str(tmp_path), "x.png"]) == 2
    must = "error: gradtx: predict needs a training on images; got"
    assert capsys.readouterr().err.startswith(f"{must} {tmp_path}{got}")
