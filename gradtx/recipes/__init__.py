"""Whole fits in one call: schedules for hyperparameters, set for that fit and put back after.

They take what `gradtx.loop.fit` takes, and return the same. `steps_per_epoch` is the number of
batches of an epoch; it may be left out where `train` is a list. The optimizer must have been built
with numbers for what is scheduled here, so that it can be set.

A state that was saved inside one of these fits goes on when it is given to the same recipe with the
same arguments; `fine_tune` can't be resumed so.
"""

from gradtx.recipes.fine_tune import fine_tune
from gradtx.recipes.fit_flat_cos import fit_flat_cos
from gradtx.recipes.fit_one_cycle import fit_one_cycle
from gradtx.recipes.fit_sgdr import fit_sgdr

__all__ = ["fine_tune", "fit_flat_cos", "fit_one_cycle", "fit_sgdr"]
