"""Whatever option a run does not heed is refused, for all pairs of what decides that."""

import dataclasses
from itertools import product
from pathlib import Path

import pytest

from gradtx.config import check_ignored, flag
from gradtx.run import TrainOptions

PHOTOS = ("imagenette", "folder")
SEARCHES = {
    "fit": {},
    "find_lr": {"find_lr": True},
    "sweep": {"sweep": "lr=1e-3:1e-1:2"},
    "search": {"search": "pbt", "over": ("lr=1e-3:1e-1",)},
}
POPULATIONS = ("sweep", "search")
# For each option when a run heeds it, of its model m, data d, optimizer o, search s and the rest c.
# Those that are not here are always heeded, such as `summary`, which tells of a search's training.
HEEDED = {
    "dataset": lambda m, d, o, s, c: m != "lstm",
    "data_dir": lambda m, d, o, s, c: m != "lstm" and d != "embedded",
    "archive": lambda m, d, o, s, c: m != "lstm" and d == "imagenette",
    "head": lambda m, d, o, s, c: m.startswith("resnet"),
    "size": lambda m, d, o, s, c: m != "lstm",
    "cache": lambda m, d, o, s, c: m != "lstm" and s not in POPULATIONS,
    "cache_limit": lambda m, d, o, s, c: m != "lstm" and d in PHOTOS,
    "augment": lambda m, d, o, s, c: m != "lstm",
    "crop_scale": lambda m, d, o, s, c: m != "lstm" and d in PHOTOS and c["augment"] != "none",
    "crop_ratio": lambda m, d, o, s, c: m != "lstm" and d in PHOTOS and c["augment"] != "none",
    "flip": lambda m, d, o, s, c: m != "lstm" and c["augment"] != "none",
    "shift": lambda m, d, o, s, c: m != "lstm" and d not in PHOTOS and c["augment"] != "none",
    "erasing": lambda m, d, o, s, c: m != "lstm" and c["augment"] != "none",
    "mix": lambda m, d, o, s, c: m != "lstm" and c["augment"] != "none",
    "microbatches": lambda m, d, o, s, c: m != "lstm",
    "length": lambda m, d, o, s, c: m == "lstm",
    "schedule": lambda m, d, o, s, c: s == "fit",
    "lr": lambda m, d, o, s, c: s == "fit",
    "momentum": lambda m, d, o, s, c: o != "sgd" and (s != "fit" or c["schedule"] != "one_cycle"),
    "weight_decay": lambda m, d, o, s, c: o not in ("adam", "sgd"),
    "epochs": lambda m, d, o, s, c: s != "find_lr",
    "save_every": lambda m, d, o, s, c: s == "fit",
    "steps_per_execution": lambda m, d, o, s, c: s == "fit",
    "log_gradient_norm": lambda m, d, o, s, c: s == "fit",
    "health": lambda m, d, o, s, c: s == "fit",
    "profile": lambda m, d, o, s, c: s == "fit",
    "log": lambda m, d, o, s, c: s == "fit",
    "metrics": lambda m, d, o, s, c: m != "lstm" and s in ("fit", "sweep"),
    "train_metrics": lambda m, d, o, s, c: m != "lstm" and s in ("fit", "sweep"),
}
FIELDS = [field.name for field in dataclasses.fields(TrainOptions)]


def choices(name):
    hint = next(f for f in dataclasses.fields(TrainOptions) if f.name == name).type
    return [x for x in getattr(hint, "__args__", ()) if isinstance(x, str)] or [
        x for part in hint.__args__ for x in getattr(part, "__args__", ()) if isinstance(x, str)
    ]


@pytest.mark.parametrize("search", SEARCHES)
def test_what_is_not_heeded_is_refused(search):
    """Of every data set, model, optimizer and option; also in the form --no-OPTION."""
    assert set(HEEDED) <= set(FIELDS)
    kinds = product(choices("model"), choices("dataset"), choices("optimizer"), ("crop", "none"))
    for model, dataset, optimizer, augment in kinds:
        if model == "lstm" and (dataset != "embedded" or search in POPULATIONS):
            continue  # refused as a pair
        rest = {"augment": augment, "schedule": "constant" if optimizer == "sgd" else "one_cycle"}
        options = TrainOptions(
            model=model,
            dataset=dataset,
            optimizer=optimizer,
            data_dir=Path("x") if dataset in ("folder", "arrays") else None,
            **rest,
            **SEARCHES[search],
        )
        heeded, ignored = lambda *a: True, options.ignored
        for name in FIELDS:
            want = HEEDED.get(name, heeded)(model, dataset, optimizer, search, rest)
            for word in (flag(name), flag(name) + "=1", flag("no_" + name)):
                try:
                    check_ignored(["x", word, "y"], ignored, "train.py")
                    got = True
                except ValueError as error:
                    assert f"got {word.split('=')[0]}. Leave" in str(error)
                    got = False
                assert got == want, (name, model, dataset, optimizer, search, rest)


def test_every_option_is_read_by_what_builds_a_run():
    """An option that nothing reads would be heeded nowhere."""
    root = Path(__file__).parents[2]
    code = "".join(path.read_text() for path in (root / "gradtx/run").glob("*.py"))
    code += (root / "train.py").read_text()
    named = [name for name in FIELDS if f"options.{name}" in code or f"self.{name}" in code]
    given = ["coordinator", "processes", "process_id"]  # by `processes_named`
    assert set(named) | set(given) == set(FIELDS)


@pytest.mark.parametrize("name", ["learning_rate=.1:1:2", "b1=.5:.9:2", "momentum=.5:.9:2"])
def test_what_is_swept_is_not_given_too(name):
    own = {"learning_rate": "lr", "b1": "momentum"}.get(name.split("=")[0], "momentum")
    with pytest.raises(ValueError, match=f"`--sweep` has no use for some options; got --{own}"):
        check_ignored([f"--{own}=1"], TrainOptions(sweep=name).ignored, "x")


@pytest.mark.parametrize("dataset", ["folder", "arrays"])
def test_data_of_the_users_own_needs_its_place(dataset):
    with pytest.raises(ValueError, match=f"`--dataset {dataset}` needs .* with `--data-dir`"):
        TrainOptions(dataset=dataset)
