"""The training loop: pure functions over one state, hooks at its events, three drivers."""

from gradtx.loop.batch_stats import reestimate_batch_stats
from gradtx.loop.binary import binary_cross_entropy
from gradtx.loop.compiled import compiled_epoch, compiled_fit, epoch_order, population
from gradtx.loop.equinox import from_equinox
from gradtx.loop.evaluate import evaluate
from gradtx.loop.events import EVENTS, Request
from gradtx.loop.fit import fit
from gradtx.loop.focal import focal_loss
from gradtx.loop.frozen_norms import freeze_norms
from gradtx.loop.function import from_function
from gradtx.loop.histogram import HISTOGRAM_EDGES, histogram
from gradtx.loop.history import History, with_nan
from gradtx.loop.hook import Hook, compose
from gradtx.loop.linen import from_linen
from gradtx.loop.loop import Loop
from gradtx.loop.losses import accuracy, cross_entropy
from gradtx.loop.nnx import from_nnx, nnx_module
from gradtx.loop.observer import Observer, Report, never
from gradtx.loop.phases import Level
from gradtx.loop.rows import Rows, take
from gradtx.loop.sampling import sampled
from gradtx.loop.sown import activation_statistics, with_sown
from gradtx.loop.state import Metrics, StepContext, TrainState
from gradtx.loop.step import eval_step, train_step
from gradtx.loop.summary import Summary, summary

__all__ = [
    "EVENTS",
    "HISTOGRAM_EDGES",
    "History",
    "Hook",
    "Level",
    "Loop",
    "Metrics",
    "Observer",
    "Report",
    "Request",
    "Rows",
    "StepContext",
    "Summary",
    "TrainState",
    "accuracy",
    "activation_statistics",
    "binary_cross_entropy",
    "compiled_epoch",
    "compiled_fit",
    "compose",
    "cross_entropy",
    "epoch_order",
    "eval_step",
    "evaluate",
    "fit",
    "focal_loss",
    "freeze_norms",
    "from_equinox",
    "from_function",
    "from_linen",
    "from_nnx",
    "histogram",
    "never",
    "nnx_module",
    "population",
    "reestimate_batch_stats",
    "sampled",
    "summary",
    "take",
    "train_step",
    "with_nan",
    "with_sown",
]
