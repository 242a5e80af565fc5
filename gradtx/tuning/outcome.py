"""What has come of a search: its best member, and its lineage for a file."""

import math
from typing import Any

import jax
import numpy as np

from gradtx.core.runtime_hyperparams import set_hyperparams
from gradtx.kinds import checked
from gradtx.loop import Loop, TrainState
from gradtx.loop.phases import close_fit
from gradtx.tuning.lineage import Lineage
from gradtx.tuning.search import Search, goodness
from gradtx.tuning.search_state import SearchState


def best_index(search: Search, searching: SearchState) -> int | Any:
    """The member with the best score of the last round; None if none has one.

    Args:
        search: what is searched for, and how.
        searching: where the search stands.
    """
    done = int(searching.round)
    if not done:
        return None
    row = jax.device_get(searching.lineage.row(done - 1))
    if not row.counts.any():
        return None
    return int(np.argmax(goodness(search.watch, row.scores, row.counts)))


@checked
def best_member(search: Search, loop: Loop, searching: SearchState) -> TrainState:
    """The state of the member with the best score, its fit closed and its hyperparameters set.

    Args:
        search: what is searched for, and how.
        loop: what is trained.
        searching: where the search stands, a round at least.

    Raises:
        ValueError: if no member has a score.
    """
    best = best_index(search, searching)
    if best is None:
        raise ValueError(
            "best_member: a member must have a score; got none that is finite after"
            f" {int(searching.round)} rounds. Look for faults, or search among lower rates."
        )
    state = jax.tree.map(lambda x: x[best], searching.states)
    live = {k: v[best] for k, v in search.space.read(searching.states.opt_state).items()}
    state = close_fit(loop, state)  # a hook may put others back
    space = search.space
    return state.replace(opt_state=set_hyperparams(state.opt_state, **space.named(live)))


@checked
def lineage_entries(search: Search, searching: SearchState) -> dict[str, Any]:
    """The lineage for JSON: a list of the rounds that are done.

        {"kind", "members", "metric", "mode", "rounds": [{"step", "parents", "near", "ages",
         "scores", "hyperparams": {label: [...]}}, ...]}

    A score is None where there is none; a parent -1 where a member was begun anew.

    Args:
        search: what is searched for, and how.
        searching: where the search stands.
    """
    told: Lineage = jax.device_get(searching.lineage)
    scores = np.where(told.counts, told.scores, np.nan)
    rows = [
        {
            "step": int(told.steps[r]),
            "parents": told.parents[r].tolist(),
            "near": told.near[r].tolist(),
            "ages": told.ages[r].tolist(),
            "scores": [x if math.isfinite(x) else None for x in scores[r].tolist()],
            "hyperparams": {label: value[r].tolist() for label, value in told.values.items()},
        }
        for r in range(int(searching.round))
    ]
    watch = {"metric": search.watch.metric, "mode": search.watch.mode}
    return {"kind": search.kind, "members": search.members, **watch, "rounds": rows}
