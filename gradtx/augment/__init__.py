"""Augmentation: pure functions (batch, key) -> batch of images, for `Loop(prepare=...)`.

    prepare = compose(random_resized_crop(128), flip(), normalize(mean, std))
    loop = Loop(..., prepare=prepare)

A batch is a dict with "image", uint8 or float[B, H, W, C]; "id", int32[B], says which examples of
the data set they are, so that each draws the same in whatever batch it comes. With the key None,
as in validation, a function takes its deterministic form: the middle of an image in place of a
random box, and no change for most others.
"""

from gradtx.augment.augmentation import Augmentation
from gradtx.augment.compose import compose
from gradtx.augment.crop import center_crop, random_resized_crop, resize
from gradtx.augment.erasing import random_erasing
from gradtx.augment.examples import Batch, Prepare, each_image
from gradtx.augment.flip import flip
from gradtx.augment.mixing import cutmix, mixup
from gradtx.augment.normalize import normalize
from gradtx.augment.rand_augment import rand_augment
from gradtx.augment.shift import shift

__all__ = [
    "Augmentation",
    "Batch",
    "Prepare",
    "center_crop",
    "compose",
    "cutmix",
    "each_image",
    "flip",
    "mixup",
    "normalize",
    "rand_augment",
    "random_erasing",
    "random_resized_crop",
    "resize",
    "shift",
]
