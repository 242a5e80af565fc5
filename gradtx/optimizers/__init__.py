"""Optimizers: each is one chain, a line for each term of its formula.

A name that Optax has too means the same: parameters, their order, defaults and result, so changing
the import is enough. Where more is offered it follows after the `*`.

Which arguments give whose numbers:

    fastai      presets.fastai_sgd, fastai_rmsprop, fastai_adam, fastai_radam, fastai_qhadam,
                fastai_larc, fastai_lamb, fastai_ranger
    PyTorch     SGD         sgd(lr, momentum, nesterov, l2=weight_decay); with dampening
                            presets.torch_sgd
                RMSprop     presets.torch_rmsprop
                Adam        adam(lr, l2=weight_decay)
                AdamW       adamw(lr, weight_decay=0.01)
                RAdam       radam(lr)                  up to the place of eps
                Adagrad     presets.torch_adagrad
                Adamax      adamax(lr, eps=1e-8)
"""

from gradtx.optimizers import presets
from gradtx.optimizers.adaptive import adam, adamw, nadam, nadamw, qhadam, radam
from gradtx.optimizers.averaged import schedule_free_adamw, schedule_free_sgd
from gradtx.optimizers.descent import (
    adadelta,
    adagrad,
    lion,
    rmsprop,
    sgd,
    sign_sgd,
    signum,
)
from gradtx.optimizers.layerwise import lamb, larc, lars
from gradtx.optimizers.orthogonal import muon
from gradtx.optimizers.second_moments import adabelief, adamax, adamaxw, amsgrad

__all__ = [
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "amsgrad",
    "lamb",
    "larc",
    "lars",
    "lion",
    "muon",
    "nadam",
    "nadamw",
    "presets",
    "qhadam",
    "radam",
    "rmsprop",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "sgd",
    "sign_sgd",
    "signum",
]
