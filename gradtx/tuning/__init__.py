"""Searches: for a learning rate, over the values of hyperparameters, and among a population."""

from gradtx.tuning.lineage import Ancestry, Lineage, ancestry
from gradtx.tuning.lr_find import LrFind, lr_find
from gradtx.tuning.obstacles import Obstacle, obstacles
from gradtx.tuning.outcome import best_index, best_member, lineage_entries
from gradtx.tuning.population_based_training import population_based_training
from gradtx.tuning.run_search import run_search
from gradtx.tuning.search import Search
from gradtx.tuning.search_round import compiled_search, search_round
from gradtx.tuning.search_state import SearchState, begin_search
from gradtx.tuning.space import log_uniform, uniform
from gradtx.tuning.successive_halving import successive_halving
from gradtx.tuning.sweep import Sweep, padded_order, parse_spread, spread, sweep

__all__ = [
    "Ancestry",
    "Lineage",
    "LrFind",
    "Obstacle",
    "Search",
    "SearchState",
    "Sweep",
    "ancestry",
    "begin_search",
    "best_index",
    "best_member",
    "compiled_search",
    "lineage_entries",
    "log_uniform",
    "lr_find",
    "obstacles",
    "padded_order",
    "parse_spread",
    "population_based_training",
    "run_search",
    "search_round",
    "spread",
    "successive_halving",
    "sweep",
    "uniform",
]
