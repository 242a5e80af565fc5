"""Other systems' optimizers with their own defaults and orders of operation.

    fastai's article              here
    SGD(lr, mom, wd)              fastai_sgd(lr, momentum=mom, weight_decay=wd)
    RMSProp(lr, mom, sqr_mom)     fastai_rmsprop(lr, momentum=mom, decay=sqr_mom)
    Adam(lr, mom, sqr_mom, wd)    fastai_adam(lr, b1=mom, b2=sqr_mom, weight_decay=wd)
    decouple_wd=False             l2=wd, weight_decay=None

fastai's momentum is an undampened sum of gradients except in Adam and its relatives, it counts
steps per parameter (the same, where each parameter has a gradient at every step) and its RMSProp
ignores `eps`, which is a defect that is not copied.
"""

from gradtx.optimizers.presets.fastai import (
    fastai_adam,
    fastai_lamb,
    fastai_larc,
    fastai_qhadam,
    fastai_radam,
    fastai_ranger,
    fastai_rmsprop,
    fastai_sgd,
)
from gradtx.optimizers.presets.torch import torch_adagrad, torch_rmsprop, torch_sgd

__all__ = [
    "fastai_adam",
    "fastai_lamb",
    "fastai_larc",
    "fastai_qhadam",
    "fastai_radam",
    "fastai_ranger",
    "fastai_rmsprop",
    "fastai_sgd",
    "torch_adagrad",
    "torch_rmsprop",
    "torch_sgd",
]
