"""Metrics that are gathered batch by batch: a state, and the functions init, update and compute.

    loop = Loop(..., metrics={"accuracy": accuracy(), "f1": f1(classes=10)})

All are in the training state, under `jit`, `scan` and `vmap`, and on a mesh of devices.
"""

from gradtx.loop.metric import Metric, mean_of
from gradtx.metrics.accuracy import accuracy, error_rate, top_k
from gradtx.metrics.average_precision import average_precision
from gradtx.metrics.balanced_accuracy import balanced_accuracy
from gradtx.metrics.confusion_matrix import confusion_matrix
from gradtx.metrics.correlation import pearson, spearman
from gradtx.metrics.errors import mae, mse, rmse
from gradtx.metrics.mcc import mcc
from gradtx.metrics.perplexity import perplexity
from gradtx.metrics.precision_recall import f1, f_beta, precision, recall
from gradtx.metrics.r2 import r2
from gradtx.metrics.roc_auc import roc_auc

__all__ = [
    "Metric",
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "confusion_matrix",
    "error_rate",
    "f1",
    "f_beta",
    "mae",
    "mcc",
    "mean_of",
    "mse",
    "pearson",
    "perplexity",
    "precision",
    "r2",
    "recall",
    "rmse",
    "roc_auc",
    "spearman",
    "top_k",
]
