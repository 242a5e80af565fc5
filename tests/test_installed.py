"""What a user has who installs gradtx, in clean environments of the oldest and the newest Python.

Once from a wheel, once from a checkout that can be edited: the models, a training, the command.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import hatchling.build
import pytest

import gradtx
from tests.markdown import ROOT

EXTRAS = "[train,data,plot,export,testing]"

TRAINING = """
import pickle
import sys

import jax
import numpy as np

import gradtx
import gradtx.models
from gradtx.loop import Loop, accuracy, cross_entropy, fit, from_linen
from gradtx.models import IMAGE_MODELS, LSTMLanguageModel, ResNet, resnet18, sequence_loss


def steps(model, batch, **loop):
    name = next(iter(batch))
    variables = dict(model.init(jax.random.key(0), batch[name], train=False))
    params = variables.pop("params")
    loop = {"loss": cross_entropy} | loop
    made = Loop(apply=from_linen(model, inputs=name), tx=gradtx.adamw(1e-3), **loop)
    state, history = fit(made, made.init(params, variables), [batch] * 3, [batch], epochs=1)
    assert int(state.step) == 3 and np.isfinite(history.rows[-1]["valid_loss"]), history.rows


label = np.arange(4, dtype=np.int32) % 2
images = {"image": np.random.default_rng(0).normal(size=(4, 16, 16, 3)), "label": label}
images["image"] = images["image"].astype(np.float32)
steps(IMAGE_MODELS["resnet_tiny"](num_classes=2), images, metrics={"accuracy": accuracy})
init = lambda key: resnet18(num_classes=2).init(key, images["image"], train=False)
large = jax.eval_shape(init, jax.random.key(0))  # it would take a minute to compile
assert sum(x.size for x in jax.tree.leaves(large["params"])) > 1e7
words = np.arange(12, dtype=np.int32).reshape(2, 6) % 5
loss = lambda pred, batch: sequence_loss(pred.logits, batch["label"])
steps(LSTMLanguageModel(5), {"input": words, "label": words}, loss=loss)

# One class of that name: a pickle finds it again, and a checkout has no second one.
assert pickle.loads(pickle.dumps(ResNet)) is ResNet is gradtx.models.resnet.ResNet
assert ResNet.__module__ == "gradtx.models.resnet" and "models" not in sys.modules
print(gradtx.__file__)
"""

FACTORY = "import gradtx\n\n\ndef halved():\n    return gradtx.scale(0.5)\n"


def said(*command, cwd, status=0):
    """What a command prints, of no environment but its own."""
    own = {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": str(cwd / "compiled")}
    own["PIP_NO_COMPILE"] = "1"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "JAX_", "XLA_"))}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=cwd, env=kept | own
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def interpreter(version):
    """A Python of that version that works, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python3")]
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, named):
        done = subprocess.run([path, "-c", ask], capture_output=True, text=True)
        if done.stdout.strip() == version:
            return path
    return None


def built(build, tree, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tree)
        return folder / build(str(folder))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A checkout of its own: what git has of this one, as it is now."""
    folder = tmp_path_factory.mktemp("checkout") / "gradtx"
    named = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT)
    if named.returncode:
        pytest.skip(f"a clone is needed, to know what belongs to it; git said: {named.stderr}")
    for name in filter(None, named.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    return built(hatchling.build.build_wheel, tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module", params=["3.11", "3.13"])
def python(request, wheel, tmp_path_factory):
    """The Python of an environment that has the wheel, and jax and optax alone beside it."""
    found = interpreter(request.param)
    if found is None:
        pytest.skip(f"there is no Python {request.param} here")
    folder = tmp_path_factory.mktemp(f"python{request.param}")
    said(found, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    said(python, "-m", "pip", "install", "-q", wheel, cwd=folder)
    return python


@pytest.fixture(scope="module")
def bare(python):
    """What `import gradtx`, and what needs more, say there."""
    listed = said(python, "-m", "pip", "list", "--format=freeze", cwd=python.parent)
    alone = "import gradtx; print(gradtx.adamw(1e-3).init({}))"
    models = "import gradtx.models"
    return (
        {line.split("==")[0] for line in listed.splitlines() if "==" in line},
        said(python, "-c", alone, cwd=python.parent),
        said(python, "-c", models, cwd=python.parent, status=1),
        said(python.parent / "gradtx", "train", cwd=python.parent, status=2),
    )


@pytest.fixture(scope="module", params=["wheel", "checkout"])
def installed(request, python, bare, wheel, tree):
    """The same environment with the extras, and gradtx once of the wheel, once of the checkout."""
    what = ["-e", f"{tree}{EXTRAS}"] if request.param == "checkout" else [f"{wheel}{EXTRAS}"]
    folder = python.parent.parent.parent / request.param
    folder.mkdir()
    said(python, "-m", "pip", "install", "-q", *what, cwd=folder)
    return request.param, python, folder


@pytest.mark.thorough
def test_jax_and_optax_are_all_that_it_needs(bare):
    packages, state, models, command = bare
    assert {"jax", "optax", "gradtx"} <= packages and not packages & {"flax", "grain", "rich"}
    assert "count" in state
    assert "flax" in models.splitlines()[-1]
    assert command.startswith("error: ") and "pip install 'gradtx[" in command


@pytest.mark.thorough
def test_the_models_train(installed, tree):
    how, python, folder = installed
    (folder / "training.py").write_text(TRAINING)
    where = Path(said(python, "training.py", cwd=folder).splitlines()[-1])
    assert where.is_relative_to(tree) == (how == "checkout")


@pytest.mark.thorough
def test_the_command_trains_predicts_exports_and_checks(installed):
    _, python, folder = installed
    gradtx_ = python.parent / "gradtx"
    assert said(gradtx_, "--version", cwd=folder) == f"gradtx {gradtx.__version__}\n"
    assert "gradtx train [OPTIONS]" in said(gradtx_, "--help", cwd=folder)
    small = "--model mlp --epochs 1 --batch-size 8 --limit-batches 2 --out run".split()
    text = said(gradtx_, "train", *small, cwd=folder)
    assert "The same run again: gradtx train --epochs 1 --batch-size 8" in text, text
    assert said(gradtx_, "report", "run", cwd=folder) == "Written: run/report.html\n"
    assert "Written to run/exported" in said(gradtx_, "export", "run", cwd=folder)
    image = "from PIL import Image; Image.new('L', (28, 28), 90).save('a.png')"
    said(python, "-c", image, cwd=folder)
    said(gradtx_, "predict", "run", "a.png", "--csv", "found.csv", cwd=folder)
    head, row = (folder / "found.csv").read_text().splitlines()
    assert head.startswith("image,predicted,") and row.startswith("a.png,")
    (folder / "mine.py").write_text(FACTORY)
    assert "keeps all" in said(gradtx_, "check", "mine.py:halved", cwd=folder)


@pytest.mark.thorough
def test_the_source_archive_makes_the_same_wheel(tree, wheel, tmp_path):
    with tarfile.open(built(hatchling.build.build_sdist, tree, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, unpacked]
    said(*pip, cwd=tmp_path)
    (again,) = tmp_path.glob("*.whl")
    assert contents(again) == contents(wheel)


def contents(wheel):
    """Digests by name; the list of them in the wheel is in no certain order."""
    archive = zipfile.ZipFile(wheel)
    return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
