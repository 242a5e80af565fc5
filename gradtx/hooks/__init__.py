"""Ready hooks: each is a factory that returns a `gradtx.loop.Hook`."""

from gradtx.hooks.accumulate_gradients import accumulate_gradients
from gradtx.hooks.clip_gradients import clip_gradients
from gradtx.hooks.early_stopping import early_stopping
from gradtx.hooks.ema_params import averaged_params, ema_params
from gradtx.hooks.layer_health import layer_health
from gradtx.hooks.layer_histograms import layer_histograms
from gradtx.hooks.loss_scaling import loss_scaling
from gradtx.hooks.mixup import mixup
from gradtx.hooks.reduce_on_plateau import reduce_on_plateau
from gradtx.hooks.reset_model_state import reset_model_state
from gradtx.hooks.rnn_regularizer import rnn_regularizer
from gradtx.hooks.save_best import best_params, save_best
from gradtx.hooks.schedule_hyperparams import schedule_hyperparams
from gradtx.hooks.skip_nonfinite import skip_nonfinite
from gradtx.hooks.terminate_on_nan import terminate_on_nan

__all__ = [
    "accumulate_gradients",
    "averaged_params",
    "best_params",
    "clip_gradients",
    "early_stopping",
    "ema_params",
    "layer_health",
    "layer_histograms",
    "loss_scaling",
    "mixup",
    "reduce_on_plateau",
    "reset_model_state",
    "rnn_regularizer",
    "save_best",
    "schedule_hyperparams",
    "skip_nonfinite",
    "terminate_on_nan",
]
