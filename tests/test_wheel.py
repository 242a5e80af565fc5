"""What a wheel holds: the package with its data, and nothing of the repository around it."""

import tarfile
import zipfile

import hatchling.build
import pytest

import gradtx
from tests.markdown import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return zipfile.ZipFile(folder / hatchling.build.build_wheel(str(folder)))


@pytest.fixture(scope="module")
def names(wheel):
    return set(wheel.namelist())


def test_every_file_of_the_package_is_in_it(names):
    tree = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "gradtx").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    models = {f"gradtx/models/{path.name}" for path in (ROOT / "models").glob("*.py")}
    assert (tree - {"gradtx/models.py"}) | models | {"gradtx/train.py"} <= names
    assert "gradtx/models.py" not in names  # the folder stands in its place
    assert "gradtx/py.typed" in names


def test_nothing_else_is_in_it(names):
    plugin = "gradtx_pytest.py"  # outside the package: pytest loads it without JAX
    assert {name.split("/")[0].split("-")[0] for name in names} == {"gradtx", plugin}
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_package_needs_no_file_of_the_repository():
    """models/ and train.py are in the wheel, inside the package."""
    for path in (ROOT / "gradtx").rglob("*.py"):
        for line in path.read_text().splitlines():
            assert not line.startswith(("from models", "import models", "import train"))


def test_a_checkout_has_its_models_by_the_name_of_the_wheel():
    import gradtx.models.resnet

    assert gradtx.models.resnet34 is gradtx.models.resnet.resnet34
    assert gradtx.models.__path__ == [str(ROOT / "models")]


def test_it_says_its_version_and_has_the_command(wheel):
    info = f"gradtx-{gradtx.__version__}.dist-info"
    assert f"\nVersion: {gradtx.__version__}\n" in wheel.read(f"{info}/METADATA").decode()
    entry = wheel.read(f"{info}/entry_points.txt").decode()
    command = ["[console_scripts]", "gradtx", "=", "gradtx.__main__:main"]
    assert entry.split() == [*command, "[pytest11]", "gradtx", "=", "gradtx_pytest"]


def test_the_source_archive_has_all_that_is_needed_to_test_it(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    made = hatchling.build.build_sdist(str(tmp_path))
    parts = {name.split("/", 1)[1] for name in tarfile.open(tmp_path / made).getnames()}
    for folder in ("gradtx", "models", "tests", "benchmarks", "docs", "tools"):
        tracked = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}
        assert tracked <= parts
    assert {
        "README.md",
        "LICENSE",
        "pyproject.toml",
        "train.py",
        "mkdocs.yml",
        "gradtx_pytest.py",
    } <= parts
