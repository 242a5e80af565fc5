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
from gradtx.optimizers.adabelief import adabelief
from gradtx.optimizers.adagrad import adadelta, adagrad
from gradtx.optimizers.adam import adam, adamw, nadam, nadamw
from gradtx.optimizers.adamax import adamax, adamaxw
from gradtx.optimizers.ademamix import ademamix
from gradtx.optimizers.adopt import adopt
from gradtx.optimizers.amsgrad import amsgrad
from gradtx.optimizers.lamb import lamb
from gradtx.optimizers.lars import larc, lars
from gradtx.optimizers.lion import lion
from gradtx.optimizers.muon import muon
from gradtx.optimizers.qhadam import qhadam
from gradtx.optimizers.radam import radam
from gradtx.optimizers.rmsprop import rmsprop
from gradtx.optimizers.schedule_free import schedule_free_adamw, schedule_free_sgd
from gradtx.optimizers.sgd import sgd, sign_sgd, signum
from gradtx.optimizers.soap import soap

__all__ = [
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "ademamix",
    "adopt",
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
    "soap",
]
