"""Train ResNet-34: by default on the embedded Fashion-MNIST subset, in minutes on two CPU cores.

python train.py
python train.py --dataset imagenette [--archive imagenette2-160.tgz]
python train.py --model lstm
python train.py --resume RUN
python train.py --find-lr
python train.py --sweep lr=1e-4:1e-1:8
python train.py predict RUN IMAGE...
python train.py --mesh data=4,fsdp=2 [--coordinator HOST:PORT --processes N --process-id I]
"""

import contextlib
import os
import sys

# A CPU step takes two thirds of the time on huge pages. Only a process that is told so when it
# starts has glibc ask for them, so on Linux this one starts again, before anything is imported.
if __name__ == "__main__" and sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
    os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    with contextlib.suppress(OSError):  # without them all goes on, only slower
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

import gradtx
from gradtx import data
from gradtx.config import option
from gradtx.data.text import moby_dick, unigram_perplexity
from gradtx.hooks import reset_model_state, rnn_regularizer
from gradtx.loop import Loop, TrainState, accuracy, cross_entropy, fit, from_linen
from gradtx.optimizers.presets import fastai_adam, fastai_rmsprop, fastai_sgd
from gradtx.parallel.processes import ending_together, first_before_others, leave, say
from gradtx.precision import Policy, with_policy
from gradtx.recipes import fit_flat_cos, fit_one_cycle
from gradtx.run import Job, RunOptions, image_source, launch, predict, text_source, with_guards
from gradtx.run.first_state import run_once
from models import MLP, resnet18, resnet34, resnet_tiny
from models.rnn import LSTMLanguageModel, sequence_loss

MODELS: Any = {"resnet34": resnet34, "resnet18": resnet18, "resnet_tiny": resnet_tiny, "mlp": MLP}
PHOTOS = ("imagenette", "folder")
IDLE = {  # options that a model or an optimizer does not heed
    "resnet34": ("length",),
    "resnet18": ("length",),
    "resnet_tiny": ("length",),
    "mlp": ("length", "head"),
    "lstm": ("head", "size", "shift", "data_dir", "archive"),
    "adamw": (),
    "adam": ("weight_decay",),
    "sgd": ("momentum", "weight_decay"),
    "momentum": (),
    "rmsprop": (),
}
CACHE = Path("~/.cache/gradtx/compiled").expanduser()


@dataclass(frozen=True)
class Config(RunOptions):
    """What decides a run of this script, beside the options of every run."""

    dataset: Literal["embedded", "imagenette", "folder", "arrays"] = option(
        "embedded", "images: Fashion-MNIST, Imagenette, a folder of photos or an .npz file"
    )
    data_dir: Path | None = option(
        None,
        "where imagenette is prepared; the folder with train/CLASS, val/CLASS; the .npz file",
        free=True,
    )
    archive: Path | None = option(None, "imagenette2-160.tgz, if you have it already", free=True)
    model: Literal["resnet34", "resnet18", "resnet_tiny", "mlp", "lstm"] | None = option(
        None, "(default: resnet34, in a sweep mlp); lstm is a language model, on Moby-Dick"
    )
    head: Literal["plain", "concat"] = option(
        "plain", "resnets: mean pool and one layer, or fastai's two on max and mean pool"
    )
    size: int | None = option(
        None, "pixels a side (default: 128 for photos, else 28)", least=1, below=2**14
    )
    shift: float = option(
        0.0, "small images: move them by up to this share of their side", least=0, below=1
    )
    length: int = option(35, "lstm: words a step", least=1, below=2**14)
    optimizer: Literal["adamw", "adam", "sgd", "momentum", "rmsprop"] = option(
        "adamw", "the gradtx chain that makes updates of gradients"
    )
    schedule: Literal["one_cycle", "flat_cos", "constant"] = option(
        "one_cycle", "of the learning rate; one_cycle moves momentum too"
    )
    lr: float | None = option(
        None, "the learning rate, at its peak (default: .002, lstm .008)", least=0, below=3.4e38
    )
    momentum: float = option(
        0.9, "of momentum, rmsprop and adam, unless by one_cycle", least=0, below=1
    )
    weight_decay: float = option(
        0.01, "decoupled, not on norms and biases; adam and sgd: none", least=0, below=3.4e38
    )
    clip: float | None = option(
        None, "largest global norm of the gradient, by clipping (default: lstm 1)", least=0
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", self.model or ("mlp" if self.sweep else "resnet34"))
        super().__post_init__()
        if self.model == "lstm" and self.dataset != "embedded":
            raise ValueError(
                f"train.py: `--model lstm` is for text; got `--dataset {self.dataset}`. Leave the"
                " data set out."
            )
        if self.sweep is not None and (self.model == "lstm" or self.shift):
            raise ValueError(
                "train.py: `--sweep` goes with neither `--model lstm` nor `--shift`. Leave one"
                " or the other out."
            )
        if self.sweep is not None:
            object.__setattr__(self, "schedule", "constant")

    @property
    def idle(self) -> dict[str, tuple[str, ...]]:
        """As every run's; a search does not heed the schedule either."""
        searches = {what: (*names, "schedule") for what, names in super().idle.items()}
        if self.find_lr:
            searches["--find-lr"] += ("lr",)
        if not searches and self.schedule == "one_cycle":
            searches["--schedule one_cycle"] = ("momentum",)
        kinds = {"--model": self.model or "", "--optimizer": self.optimizer}
        return {f"{flag} {kind}": IDLE[kind] for flag, kind in kinds.items()} | searches

    @property
    def name(self) -> str:
        """What the run's directory is called by default, before the time."""
        return f"{self.model}-{self.dataset}"

    @property
    def swept(self) -> tuple[str, np.ndarray]:
        """The name that the optimizer has for the sweep's hyperparameter, and its values."""
        name, values = super().swept
        momentum = "b1" if self.optimizer.startswith("adam") else "momentum"
        return {"lr": "learning_rate", "momentum": momentum}.get(name, name), values

    @property
    def settings(self) -> dict[str, Any]:
        """The same as `sweep` takes them: decay stays off norms and biases."""
        name, values = self.swept
        return {name: {"others": values} if name == "weight_decay" else values}

    @property
    def peak(self) -> float:
        """The learning rate, with the model's own default."""
        return self.lr if self.lr is not None else (8e-3 if self.model == "lstm" else 2e-3)


def make_optimizer(config: Config) -> gradtx.GradientTransformation:
    """The chain that the configuration names; its numbers are live, and the fit schedules them."""
    momentum = config.momentum
    groups = gradtx.label_by(norm_or_bias=gradtx.norm_or_bias, others="*")
    decay = gradtx.by_group(groups, norm_or_bias=0.0, others=config.weight_decay)
    tx = {
        "adamw": partial(fastai_adam, b1=momentum, weight_decay=decay),
        "adam": partial(fastai_adam, b1=momentum, weight_decay=None),
        "sgd": fastai_sgd,
        "momentum": partial(fastai_sgd, momentum=momentum, weight_decay=decay),
        "rmsprop": partial(fastai_rmsprop, momentum=momentum, weight_decay=decay),
    }[config.optimizer](config.peak)
    default = 1.0 if config.model == "lstm" else None
    clip = default if config.clip is None else config.clip
    return tx if clip is None else gradtx.chain(gradtx.clip_by_global_norm(clip), tx)


def make_fit(config: Config, steps: int) -> Callable[..., Any]:
    """The fit that schedules the optimizer's numbers over epochs of so many steps."""
    recipe = {"one_cycle": fit_one_cycle, "flat_cos": fit_flat_cos}.get(config.schedule)
    return partial(recipe, learning_rate=config.peak, steps_per_epoch=steps) if recipe else fit


def make_loop(
    config: Config,
    model: Any,
    inputs: str,
    example: np.ndarray,
    hooks: Sequence[Any] = (),
    start: Callable[..., Any] = run_once,
    **parts,
) -> tuple[Loop, TrainState]:
    """The model meets the optimizer; with `start=jax.eval_shape` the state is only its form."""
    loop = Loop(
        apply=with_policy(from_linen(model, inputs=inputs), Policy.of(config.precision)),
        tx=make_optimizer(config),
        hooks=with_guards(hooks, config),
        **parts,
    )

    def begin(key: jax.Array) -> TrainState:
        variables = dict(model.init(key, example, train=False))
        return loop.init(variables.pop("params"), variables, seed=key)

    return loop, start(begin, jax.random.key(config.seed))


def image_job(config: Config) -> Job:
    """A network on images."""
    with first_before_others():
        dataset = data.load(config.dataset, data_dir=config.data_dir, archive=config.archive)
    size = config.size or (128 if config.dataset in PHOTOS else 28)
    say(describe(dataset, size))
    source = image_source(
        dataset,
        batch_size=config.batch_size,
        size=size,
        seed=config.seed,
        shift=config.shift,
        limit=config.limit_batches,
    )
    loop, state = image_loop(config, data.ImageSpec.of(dataset, size=size))
    remark = lambda row: f"Validation accuracy {row['accuracy']:.2%}."
    return Job(loop, state, source, make_fit(config, source.steps), remark)


def image_loop(
    config: Config, facts: data.ImageSpec, start: Callable[..., Any] = run_once
) -> tuple[Loop, TrainState]:
    """The network for images of that kind."""
    head: dict[str, Any] = {} if config.model == "mlp" else {"head": config.head}
    dtype = Policy.of(config.precision).compute
    model = MODELS[config.model](num_classes=len(facts.classes), dtype=dtype, **head)
    example = np.zeros((1, facts.size, facts.size, facts.channels), np.float32)
    parts = {"loss": cross_entropy, "metrics": {"accuracy": accuracy}, "start": start}
    return make_loop(config, model, "image", example, **parts)


def describe(dataset: data.Dataset, size: int) -> str:
    """The first line: which data this is."""
    title = "Fashion-MNIST (embedded subset)" if dataset.name == "embedded" else dataset.name
    line = (
        f"Data: {title}, {len(dataset.train):,} training and {len(dataset.valid):,} validation"
        f" images in {len(dataset.classes)} classes, at {size} px."
    )
    hint = "python train.py --dataset imagenette [--archive imagenette2-160.tgz]"
    other = f" This is not Imagenette; to train on that: {hint}"
    return line + other if dataset.name == "embedded" else line


def text_job(config: Config) -> Job:
    """A recurrent language model on text, its hidden state carried from batch to batch."""
    text = moby_dick()
    say(
        f"Data: {text.name} (embedded), {text.train.size:,} training and {text.valid.size:,}"
        f" validation tokens, {len(text.vocab):,} words."
    )
    shape = {"batch_size": config.batch_size, "length": config.length}
    source = text_source(text, **shape, limit=config.limit_batches)
    loop, state = make_loop(
        config,
        LSTMLanguageModel(len(text.vocab)),
        "input",
        np.zeros((config.batch_size, config.length), np.int32),
        loss=lambda pred, batch: sequence_loss(pred.logits, batch["label"]),
        hooks=[reset_model_state("carry"), rnn_regularizer(alpha=2.0, beta=1.0)],
    )
    remark = lambda row: (
        f"Validation perplexity {math.exp(row['valid_loss']):.1f};"
        f" words by frequency alone: {unigram_perplexity(text):.1f}."
    )
    return Job(loop, state, source, make_fit(config, source.steps), remark)


def make_job(config: Config) -> Job:
    """What `--model` is trained on."""
    return text_job(config) if config.model == "lstm" else image_job(config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    jax.config.update("jax_compilation_cache_dir", str(CACHE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    if argv[:1] == ["predict"]:
        return predict(Config, image_loop, argv[1:])
    return launch(Config, make_job, argv, description=__doc__ or "")


if __name__ == "__main__":
    with ending_together("Start all again, with --resume and the run's directory."):
        leave(main())
