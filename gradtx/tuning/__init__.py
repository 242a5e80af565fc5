"""Searches: for a learning rate, and over the values of hyperparameters."""

from gradtx.tuning.lr_find import LrFind, lr_find
from gradtx.tuning.sweep import Sweep, padded_order, parse_spread, spread, sweep

__all__ = ["LrFind", "Sweep", "lr_find", "padded_order", "parse_spread", "spread", "sweep"]
