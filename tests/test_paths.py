"""Every public function that takes a path takes it as users write it: `~` is the home directory."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import gradtx
from gradtx import checkpoint, data, observers, report, run
from gradtx.files import CACHE, as_path
from gradtx.loop import Loop, fit
from gradtx.run.directory import take_directory

STATE = {"w": jnp.ones(2)}
SPEC = data.ImageSpec.of(data.embedded(), size=8)


def loop():
    apply = lambda params, state, batch, key, training: (batch["x"] * params["w"], state)
    return Loop(apply=apply, loss=lambda pred, batch: pred**2, tx=gradtx.sgd(0.1))


def begin():
    return loop().init({"w": jnp.ones(())})


def observe(make, steps=1):
    """A short fit with one observer."""
    batches = steps * [{"x": np.ones((2,), np.float32)}]
    fit(loop(), begin(), batches, epochs=1, observers=[make])


def history(path):
    observe(observers.jsonl(path))


def a_run(path):
    """A directory that a report can be made of."""
    as_path(path).mkdir(exist_ok=True)
    (as_path(path) / "config.json").write_text("{}")
    history(f"{path}/metrics.jsonl")


def npz(path):
    x, y = np.zeros((4, 8, 8), np.uint8), np.arange(4) % 2
    x[1] = 1
    np.savez(as_path(path), x_train=x, y_train=y, x_test=x, y_test=y)


def photos(path):
    for split in ("train", "val"):
        for name in ("a", "b"):
            (as_path(path) / split / name).mkdir(parents=True)
            Image.new("RGB", (9, 9)).save(as_path(path) / split / name / "x.png")


def images(path):
    Image.new("L", (9, 9)).save(as_path(path))


def validation(path):
    found = report.Validation(
        *map(np.array, ([0], [[1.0, 0.0]], [0], np.zeros((1, 1, 1, 1), np.uint8)))
    )
    report.write_validation(found, path)


def refused(f, *args, **options):
    """What gets as far as the place itself, and names it."""
    with pytest.raises((ValueError, OSError), match=str(Path.home())):
        f(*args, **options)


def write(path):
    observe(observers.checkpoint(path))


def take(options):
    take_directory(options, resuming=False)[1]()


def checkpoints(path):
    checkpoint.save(path, STATE, step=1)


# For each function, and each of its paths, a call with `~/x`, after what makes it if need be.
CALLS = {
    "checkpoint.clean": lambda p: checkpoint.clean(p),
    "checkpoint.entries": lambda p: [checkpoints(p), checkpoint.entries(p)[0]],
    "checkpoint.newest_intact": lambda p: [checkpoints(p), checkpoint.newest_intact(p)],
    "checkpoint.restore": lambda p: [checkpoints(p), checkpoint.restore(p, STATE)],
    "checkpoint.resume": lambda p: [
        write(p),
        checkpoint.resume(p)(begin()),
    ],
    "checkpoint.save": checkpoints,
    "checkpoint.start_save": lambda p: checkpoint.start_save(p, STATE, step=1).result(),
    "data.ImageSpec.write": SPEC.write,
    "data.ImageSpec.read": lambda p: [SPEC.write(p), data.ImageSpec.read(p)],
    "data.SkippedImages.save_to": lambda p: data.SkippedImages(data.embedded()).save_to(p),
    "data.arrays": lambda p: [npz(p + ".npz"), data.arrays(p + ".npz")],
    "data.embedded": lambda p: refused(data.embedded, file=Path(p)),
    "data.folder": lambda p: [photos(p), data.folder(p)],
    "data.imagenette": lambda p: refused(data.imagenette, p, archive=p),
    "data.load": lambda p: [photos(p), data.load("folder", data_dir=p)],
    "data.read_rows": lambda p: [images(p + ".png"), data.read_rows(p + ".png", SPEC)],
    "data.on_canvas": lambda p: [photos(p), data.on_canvas(data.folder(p), size=8, cache=p + "y")],
    "data.read_images": lambda p: [images(p + ".png"), data.read_images([p + ".png"], SPEC)],
    "observers.checkpoint": write,
    "observers.csv": lambda p: observe(observers.csv(p)),
    "observers.jsonl": history,
    "observers.profile": lambda p: observe(observers.profile(p, 1, after=1), steps=3),
    "observers.read_jsonl": lambda p: [history(p), observers.read_jsonl(p)],
    "observers.tensorboard": lambda p: observe(observers.tensorboard(p)),
    "report.plot_losses": lambda p: [history(p), report.plot_losses(p, p + ".png")],
    "report.plot_schedule": lambda p: report.plot_schedule(lambda t: t * 1.0, 2, p),
    "report.read_run": lambda p: [a_run(p), report.read_run(p)],
    "report.read_validation": lambda p: [validation(p), report.read_validation(p)],
    "report.write_comparison": lambda p: [
        a_run(p),
        report.write_comparison(iter([p]), p + "/y"),
    ],
    "report.write_report": lambda p: [a_run(p), report.write_report(p)],
    "report.write_validation": validation,
    "run.RunOptions": lambda p: take(run.RunOptions(out=Path(p))),
    "run.TrainOptions": lambda p: take(run.TrainOptions(out=Path(p))),
    "run.export": lambda p: refused(run.export, p),
    "run.load_exported": lambda p: refused(run.load_exported, p),
    "run.predict_files": lambda p: refused(run.predict_files, p, [p + ".png"]),
    "run.read_config": lambda p: refused(run.read_config, run.RunOptions, Path(p)),
    "run.restore_model": lambda p: refused(
        run.restore_model, run.Model(None, lambda key: (STATE, {})), Path(p)
    ),
}
# These write by the same function as `plot_schedule`, or are given nothing but what gradtx made.
OTHERS = {
    "checkpoint.Entry.hidden",
    "checkpoint.Entry.path",
    "checkpoint.Restored",
    "observers.Interrupted",
    "report.plot_lr_find",
    "report.plot_sweep",
    # As `csv`; their clients are not there to be tried.
    "observers.mlflow",
    "observers.trackio",
    "observers.wandb",
}


def public():
    """The public functions, and methods of public classes, that take a path."""
    for module in pkgutil.iter_modules(gradtx.__path__):
        room = importlib.import_module(f"gradtx.{module.name}")
        for name in getattr(room, "__all__", ()):
            f = getattr(room, name)
            parts = {f"{name}.{k}": v for k, v in vars(f).items()} if inspect.isclass(f) else {}
            for own, g in ({name: f} | parts).items():
                g = getattr(g, "__func__", g)
                hints = getattr(g, "__init__", g) if inspect.isclass(g) else g
                if inspect.isfunction(hints) and not own.rpartition(".")[2].startswith("_"):
                    of = [p for p in inspect.signature(hints).parameters.values()]
                    if any("Path" in str(p.annotation) for p in of):
                        yield f"{module.name}.{own}"


def test_the_table_has_every_public_function():
    assert set(public()) == set(CALLS) | OTHERS


@pytest.mark.parametrize("name", CALLS)
def test_home_is_found(name, tmp_path, monkeypatch, capsys):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    CALLS[name]("~/x")
    assert not list(here.iterdir())


def test_names_that_only_look_like_home_are_names(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("a/~", "~[x]", "~nobody-has-this-name/x", "./~/x"):
        assert str(as_path(name)) == name.removeprefix("./")
    assert as_path(b"~/caf\xe9") == Path("/home/me/caf\udce9")


def test_without_a_home_only_what_needs_it_is_refused(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as without an entry in passwd
    with pytest.raises(ValueError, match="`~` must stand for a home directory; got ~/x, and there"):
        as_path("~/x")
    with pytest.raises(ValueError, match="Set HOME"):
        data.imagenette()
    assert as_path("x") == Path("x") and str(CACHE).startswith("~")
    with pytest.raises(ValueError, match="NUL"):
        as_path("a\0b")


def test_what_is_compiled_is_kept_where_the_environment_says(monkeypatch):
    from gradtx.run.compiled import keep_compiled

    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [jax.config.values[name] for name in names]
    keep_compiled()
    assert [jax.config.values[name] for name in names] == before
    try:
        for name in names:
            monkeypatch.delenv(name.upper(), raising=False)
        jax.config.update(names[0], None)
        monkeypatch.setenv("HOME", "/nowhere")
        keep_compiled()
        assert jax.config.values[names[0]] == "/nowhere/.cache/gradtx/compiled"
        jax.config.update(names[0], None)
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
        keep_compiled()
        assert jax.config.values[names[0]] is None
    finally:
        for name, value in zip(names, before, strict=True):
            jax.config.update(name, value)
