"""What the images of a run undergo, as one value: chosen, said, saved, and made a function."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gradtx.augment.checks import require
from gradtx.augment.compose import compose
from gradtx.augment.crop import RATIO, SCALE, center_crop, check_crop, random_resized_crop, resize
from gradtx.augment.erasing import random_erasing
from gradtx.augment.examples import Prepare
from gradtx.augment.flip import flip
from gradtx.augment.mixing import cutmix, mixup
from gradtx.augment.normalize import normalize
from gradtx.augment.rand_augment import rand_augment
from gradtx.augment.shift import shift
from gradtx.kinds import checked

KINDS = ("none", "crop", "rand")
MIXES = {"none": None, "mixup": mixup, "cutmix": cutmix}


@checked
@dataclass(frozen=True)
class Augmentation:
    """What training images undergo, in this order.

        shift, crop or resize to the training size, flip, RandAugment, normalize, erase, mix

    Of a photo a random box is taken; array images, which are small, are taken whole.

    >>> print(Augmentation(flip=False, mix="cutmix").describe(photos=True))
    random crops of 0.35 to 1 of the area and 0.75 to 1.33 in shape; cutmix

    Args:
        kind: "none" for nothing random; "crop"; "rand" for RandAugment too.
        scale: (low, high) of the share of a photo's area that the box has, in (0, 1].
        ratio: (low, high) of the box's width over its height, above 0.
        flip: whether half of the images are mirrored.
        shift: the largest move of an array image, as a share of its side, in [0, 1).
        erasing: the probability that a box of an image is erased, in [0, 1].
        mix: "none", "mixup" or "cutmix": whether images are mixed in pairs.

    Raises:
        ValueError: if a value is none of these.
    """

    kind: str = "crop"
    scale: tuple[float, float] = SCALE
    ratio: tuple[float, float] = RATIO
    flip: bool = True
    shift: float = 0.0
    erasing: float = 0.0
    mix: str = "none"

    def __post_init__(self) -> None:
        """Take pairs as JSON has them too; check all."""
        for name in ("scale", "ratio"):
            pair = getattr(self, name)
            object.__setattr__(self, name, tuple(pair) if isinstance(pair, list) else pair)
        where, one_of = "Augmentation", "Choose one of these."
        for name, known in (("kind", KINDS), ("mix", tuple(MIXES))):
            must = f"be one of {', '.join(known)}"
            value = getattr(self, name)
            require(where, name, value, lambda v, known=known: v in known, must=must, do=one_of)
        check_crop(where, self.scale, self.ratio)
        share, do = "be in [0, 1)", "Choose a share of the side."
        require(where, "shift", self.shift, lambda s: 0 <= s < 1, must=share, do=do)
        share, do = "be in [0, 1]", "Choose a probability."
        require(where, "erasing", self.erasing, lambda p: 0 <= p <= 1, must=share, do=do)

    @property
    def entries(self) -> dict[str, Any]:
        """The fields by name, for JSON, from which `Augmentation(**entries)` makes it again."""
        return asdict(self)

    def describe(self, *, photos: bool) -> str:
        """What is done, in words.

        Args:
            photos: whether the images are photos, not array images.
        """
        if self.kind == "none":
            return "none"
        said = []
        if photos:
            (a, b), (low, high) = self.scale, self.ratio
            areas, shapes = f"{a:.3g} to {b:.3g}", f"{low:.3g} to {high:.3g}"
            said.append(f"random crops of {areas} of the area and {shapes} in shape")
        if self.shift and not photos:
            said.append(f"moved by up to {self.shift:.3g} of the side")
        said += ["half mirrored"] if self.flip else []
        said += ["RandAugment, 2 operations of strength 0.3"] if self.kind == "rand" else []
        said += [f"a box erased of {self.erasing:.0%}"] if self.erasing else []
        said += [self.mix] if self.mix != "none" else []
        return "; ".join(said) or "none"

    def prepare(
        self,
        *,
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        photos: bool,
        classes: int,
    ) -> Prepare:
        """The function (batch, key) -> batch, for `Loop(prepare=...)`.

        Without a key, photos are cropped to the square in their middle and array images resized.

        Args:
            size: the side that the model gets, in pixels.
            mean: of each channel, of images in [0, 1].
            std: the standard deviation of each channel, of images in [0, 1].
            photos: whether the images are photos, on canvases, not array images.
            classes: their number, for mixed labels.
        """
        plain = center_crop(size) if photos else resize(size)
        if self.kind == "none":
            return compose(plain, normalize(mean, std))
        crop = random_resized_crop(size, scale=self.scale, ratio=self.ratio)
        mix = MIXES[self.mix]
        # Each has its place whether the others are there or not, so that its draws stay.
        return compose(
            compose() if photos or not self.shift else shift(self.shift),
            crop if photos else plain,
            flip() if self.flip else compose(),
            rand_augment() if self.kind == "rand" else compose(),
            normalize(mean, std),
            random_erasing(self.erasing) if self.erasing else compose(),
            compose() if mix is None else mix(classes=classes),
        )
