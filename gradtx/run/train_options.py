"""The options of a training of one of our models, and what they mean for each other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from gradtx.augment import Augmentation
from gradtx.config import option, parse_range
from gradtx.run.metrics import MetricName
from gradtx.run.options import GROUPS, RunOptions

NEEDING = {"folder": "the folder with train/CLASS and val/CLASS", "arrays": "an .npz file"}
PHOTOS = ("imagenette", "folder")  # data sets of images of all sizes
# What `--augment` switches on, and which of it photos and array images have no use for.
AUGMENTING = ("crop_scale", "crop_ratio", "flip", "shift", "erasing", "mix")
AUGMENTATION = ("augment", *AUGMENTING)
CROPPING = ("crop_scale", "crop_ratio")
MEASURING = ("metrics", "train_metrics")
IGNORED = {  # the options that a model or an optimizer ignores
    "resnet34": ("length",),
    "resnet18": ("length",),
    "resnet_tiny": ("length",),
    "mlp": ("length", "head"),
    "lstm": (
        *("dataset", "head", "size", "data_dir", "archive", "cache", "cache_limit", "augment"),
        "microbatches",  # its carry has a row for each example
        *AUGMENTING,
        *MEASURING,
    ),
    "adamw": (),
    "adam": ("weight_decay",),
    "sgd": ("momentum", "weight_decay"),
    "momentum": (),
    "rmsprop": (),
    "embedded": ("data_dir", "archive", "cache_limit", *CROPPING),
    "arrays": ("archive", "cache_limit", *CROPPING),
    "imagenette": ("shift",),
    "folder": ("archive", "shift"),
}
SWEPT = {"learning_rate": "lr", "b1": "momentum"}  # what optimizers call an option


@dataclass(frozen=True)
class TrainOptions(RunOptions):
    """What decides a run of train.py, beside the options of every run.

    Args:
        epochs: this and the others up to `limit_batches` are those of `RunOptions`.
        batch_size: see there.
        seed: see there.
        precision: see there.
        nonfinite: see there.
        log_gradient_norm: see there.
        health: see there.
        deterministic: see there.
        microbatches: see there.
        remat: see there.
        profile: see there.
        log: see there.
        find_lr: see there.
        sweep: see there.
        search: see there.
        over: see there.
        members: see there.
        rounds: see there.
        save_every: see there.
        steps_per_execution: see there.
        out: see there.
        config: see there.
        resume: see there.
        params_only: see there.
        summary: see there.
        mesh: see there.
        coordinator: see there.
        processes: see there.
        process_id: see there.
        distributed: see there.
        join_timeout: see there.
        limit_batches: see there.
        dataset: the data set of images, a name that `gradtx.data.load` takes.
        data_dir: where that is, or where it is prepared.
        archive: the archive of Imagenette, if it is there already.
        model: the name of the model; None: resnet34, in a sweep mlp.
        head: of resnets: "plain" or "concat".
        size: pixels a side of the images; None: 128 for photos, else 28.
        cache: where images are kept: "device", "host", "none" (photos are decoded in each epoch
            anew) or "auto", which is "device" if a quarter of its free memory holds them.
        cache_limit: the most that a cache of decoded photos may take, in GB.
        augment: "none" for nothing random, "crop", or "rand" for RandAugment too.
        crop_scale: "LOW:HIGH", of photos: the share of the area that a random crop has.
        crop_ratio: "LOW:HIGH", of photos: the width of a random crop over its height.
        flip: whether half of the images are mirrored.
        shift: the largest move of a small image, as a share of its side, in [0, 1).
        erasing: the probability that a box of an image is erased, in [0, 1).
        mix: "none", "mixup" or "cutmix": whether images are mixed in pairs.
        length: of the language model: words a step.
        optimizer: the name of the optimizer.
        schedule: the name of the schedule of the learning rate.
        lr: the learning rate at its peak; None: 0.002, of the language model 0.008.
        momentum: of the optimizers that have one, unless one_cycle moves it, in [0, 1).
        weight_decay: decoupled, not on norms and biases.
        clip: the largest global norm of the gradient; None: 1 for the language model, else no
            clipping.
        metrics: the names of the metrics of the validation, of images, beside the accuracy.
        train_metrics: the names of those of the training.

    Raises:
        ValueError: as `RunOptions`.
    """

    GROUPS: ClassVar[dict[str, tuple[str, tuple[str, ...]]]] = {
        "data": (
            "%(prog)s --dataset folder --data-dir photos --size 160",
            ("dataset", "data_dir", "archive", "size", "cache", "cache_limit"),
        ),
        "augmentation": ("%(prog)s --augment rand --mix cutmix --erasing 0.2", AUGMENTATION),
        "model": ("%(prog)s --model resnet18 --head concat", ("model", "head", "length")),
        "optimizer": (
            "%(prog)s --optimizer momentum --weight-decay 1e-4 --clip 1",
            ("optimizer", "weight_decay", "clip"),
        ),
        "schedule": (
            "%(prog)s --schedule flat_cos --lr 4e-3",
            ("schedule", "lr", "momentum"),
        ),
        "metrics": (
            "%(prog)s --metrics f1 recall_per_class confusion_matrix --train-metrics accuracy",
            MEASURING,
        ),
        **GROUPS,
    }

    dataset: Literal["embedded", "imagenette", "folder", "arrays"] = option(
        "embedded", "images: Fashion-MNIST, Imagenette, a folder of photos or an .npz file"
    )
    data_dir: Path | None = option(
        None,
        "where imagenette is prepared; the folder with train/CLASS, val/CLASS; the .npz file",
        overridable=True,
    )
    archive: Path | None = option(
        None, "imagenette2-160.tgz, if you have it already", overridable=True
    )
    model: Literal["resnet34", "resnet18", "resnet_tiny", "mlp", "lstm"] | None = option(
        None, "(default: resnet34, in a sweep mlp); lstm is a language model, on Moby-Dick"
    )
    head: Literal["plain", "concat"] = option(
        "plain", "resnets: mean pool and one layer, or fastai's two on max and mean pool"
    )
    size: int | None = option(
        None, "pixels a side (default: 128 for photos, else 28)", least=1, below=2**14
    )
    cache: Literal["auto", "device", "host", "none"] = option(
        "auto",
        "where images are kept: whole on the device, if a quarter of its memory holds them, or on"
        " the host; none: photos are decoded in each epoch anew",
        overridable=True,
    )
    cache_limit: float = option(
        20.0,
        "photos: the most GB that the cache of decoded ones may take",
        least=0,
        overridable=True,
    )
    augment: Literal["none", "crop", "rand"] = option(
        "crop", "of training images: none at all, crops and what follows, or RandAugment too"
    )
    crop_scale: str = option("0.35:1", "photos: LOW:HIGH share of the area that a crop has")
    crop_ratio: str = option("3/4:4/3", "photos: LOW:HIGH width of a crop over its height")
    flip: bool = option(True, "mirror half of the images")
    shift: float = option(
        0.0, "small images: move them by up to this share of their side", least=0, below=1
    )
    erasing: float = option(
        0.0, "the share of images that a random box is erased of", least=0, below=1
    )
    mix: Literal["none", "mixup", "cutmix"] = option("none", "mix images in pairs, and labels")
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
    metrics: tuple[MetricName, ...] | None = option(
        None, "images: of the validation, beside the accuracy; precision, recall, f1: macro"
    )
    train_metrics: tuple[MetricName, ...] | None = option(
        None, "images: of the training batches, in the table as train_NAME"
    )

    def __post_init__(self) -> None:
        """Fill in the model and the schedule of a population; check what goes together."""
        many = "--sweep" if self.sweep else "--search" if self.search else None
        object.__setattr__(self, "model", self.model or ("mlp" if many else "resnet34"))
        super().__post_init__()
        if self.model == "lstm" and self.dataset != "embedded":
            raise ValueError(
                f"{self.PROG}: `--model lstm` is for text; got `--dataset {self.dataset}`. Leave"
                " the data set out."
            )
        if self.model != "lstm" and self.dataset in NEEDING and self.data_dir is None:
            raise ValueError(
                f"{self.PROG}: `--dataset {self.dataset}` needs {NEEDING[self.dataset]}; got none."
                " Name it with `--data-dir`."
            )
        if many and self.model == "lstm":
            raise ValueError(
                f"{self.PROG}: `{many}` does not go with `--model lstm`. Leave one or the other"
                " out."
            )
        _ = self.augmentation  # checks its ranges
        if many:
            object.__setattr__(self, "schedule", "constant")

    @property
    def ignored(self) -> dict[str, tuple[str, ...]]:
        """As every run's; a search ignores the schedule too."""
        found = super().ignored
        if self.find_lr:
            found["--find-lr"] += ("schedule", "lr", *MEASURING)
        if self.varied is not None:
            kind, names = self.varied
            found[kind] += ("schedule", "cache", *(SWEPT.get(name, name) for name in names))
            found[kind] += MEASURING if self.search else ()
        if not self.is_search and self.schedule == "one_cycle":
            found["--schedule one_cycle"] = ("momentum",)
        kinds = {"--model": str(self.model), "--optimizer": self.optimizer}
        if self.model != "lstm":
            kinds["--dataset"] = self.dataset
        if self.augment == "none":
            found["--augment none"] = AUGMENTING
        if self.cache == "none":
            found["--cache none"] = ("cache_limit",)
        if self.limit_batches is not None:
            found["--limit-batches"] = ("cache_limit",)
        return {f"{flag} {kind}": IGNORED[kind] for flag, kind in kinds.items()} | found

    @property
    def name(self) -> str:
        """What the run's directory is called by default, before the time."""
        return f"{self.model}-{self.dataset}"

    @property
    def rate(self) -> tuple[float, str]:
        """Images, or words of the language model, as what a step gets through."""
        if self.model == "lstm":
            return self.batch_size * self.length, "words/s"
        return self.batch_size, "images/s"

    @property
    def swept(self) -> tuple[str, np.ndarray]:
        """The name that optimizers have for the sweep's hyperparameter, and its values."""
        name, values = super().swept
        return _there(name, values)[0], values

    @property
    def settings(self) -> dict[str, Any]:
        """The same as `sweep` takes them: decay stays off norms and biases."""
        return dict([_there(*super().swept)])

    @property
    def searched(self) -> dict[str, tuple[str, Any]]:
        """The same as the optimizer names it: name -> (its name there, its values)."""
        return {name: _there(name, values) for name, values in self.space.items()}

    def training_with(self, values: Mapping[str, float]) -> Any:
        """The options of the training that a search was for, with what it has found.

        Args:
            values: by the names of the command line; those without an option are left out.
        """
        named = {SWEPT.get(name, name): value for name, value in values.items()}
        return replace(super().training_with(named), schedule="constant")

    @property
    def learning_rate(self) -> float:
        """The learning rate at its peak, with the model's own default."""
        return self.lr if self.lr is not None else (8e-3 if self.model == "lstm" else 2e-3)

    @property
    def clip_norm(self) -> float | None:
        """The largest global norm of the gradient, with the model's own default; None: any."""
        return 1.0 if self.clip is None and self.model == "lstm" else self.clip

    @property
    def augmentation(self) -> Augmentation:
        """What training images undergo."""
        where = f"{self.PROG}: --"
        return Augmentation(
            self.augment,
            scale=parse_range(self.crop_scale, f"{where}crop-scale", most=1),
            ratio=parse_range(self.crop_ratio, f"{where}crop-ratio"),
            flip=self.flip,
            shift=self.shift,
            erasing=self.erasing,
            mix=self.mix,
        )

    @property
    def keeps_photos(self) -> bool:
        """Whether decoded photos are kept for other epochs and runs."""
        return self.cache != "none" and self.limit_batches is None

    @property
    def image_size(self) -> int:
        """Pixels a side, with the data set's own default."""
        return self.size or (128 if self.dataset in PHOTOS else 28)


def _there(name: str, values: Any) -> tuple[str, Any]:
    """The optimizer's name for a hyperparameter, and its values: decay is off norms and biases."""
    own = {"lr": "learning_rate"}.get(name, name)
    return own, {"others": values} if name == "weight_decay" else values
