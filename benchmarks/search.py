"""Four searches for a learning rate and a weight decay, with one budget of training steps.

    python -m benchmarks.search --seeds 5 --out benchmarks/results/search.json

The contestants train an MLP on the embedded Fashion-MNIST subset: population-based training and
successive halving (`gradtx.tuning.run_search`), random search (`sweep` of as many copies with
hyperparameters from the same prior), and Optuna, whose TPE sampler and median pruner drive one
trial after another. Each spends `members` times `rounds` times `steps` training steps. Optuna's
trials run in this process too, each round a jitted epoch that is compiled once for all: what it
would cost to start a process a trial is not counted.

A contestant's loss is the least validation loss among those it has at its end: of the members of
the last round, or of Optuna's trials at their last round. The first search of each, which
compiles, is timed apart; the others take their turns, a seed each. Optuna is optional.
"""

import argparse
import importlib.metadata
import importlib.util
import statistics
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np

import gradtx
from benchmarks.measure import random_images
from benchmarks.record import finish, on_huge_pages, row
from gradtx import data, models
from gradtx.loop import Loop, compiled_epoch, epoch_order, from_linen
from gradtx.loop.losses import accuracy, cross_entropy
from gradtx.loop.phases import open_fit
from gradtx.tuning import (
    begin_search,
    best_index,
    log_uniform,
    padded_order,
    population_based_training,
    run_search,
    successive_halving,
    sweep,
)
from gradtx.tuning.space import as_space

LOW, HIGH, DECAYS = 1e-5, 1.0, [0.0, 0.01, 0.1]
SPACE = {"learning_rate": log_uniform(LOW, HIGH), "weight_decay": DECAYS}


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--members", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40, help="training steps of a round")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=28, help="height and width in pixels")
    parser.add_argument("--seeds", type=int, default=5, help="searches of each contestant")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--how", choices=("map", "vmap"), default="map")
    parser.add_argument("--tiny", action="store_true", help="random images, a few steps")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


class Problem:
    """What is searched over: the loop, and a search's first state, orders and data by its seed."""

    def __init__(self, args):
        self.args = args
        self.loop = Loop(
            apply=from_linen(models.MLP(num_classes=10)),
            loss=cross_entropy,
            tx=gradtx.adamw(1e-3),
            metrics={"accuracy": accuracy},
        )
        self.train, valid = _images(args)
        self.valid = padded_order(valid, batch_size=args.batch_size)
        self.epoch = jax.jit(partial(compiled_epoch, self.loop))
        first = jax.jit(self._first)
        self.begin = lambda seed: first(jax.random.key(seed))

    def _first(self, key):
        variables = dict(models.MLP(num_classes=10).init(key, self.train["image"][:1], train=False))
        return self.loop.init(variables.pop("params"), variables, seed=key)

    def orders(self, seed):
        """int32[rounds, steps, B]: what the data have in epochs, in rounds."""
        args, count = self.args, len(self.train["label"])
        needed = args.rounds * args.steps
        epochs = -(-needed // (count // args.batch_size))
        order = partial(epoch_order, examples=count, batch_size=args.batch_size)
        rows = jax.vmap(order)(jax.random.split(jax.random.key(seed), epochs))
        return rows.reshape(-1, args.batch_size)[:needed].reshape(args.rounds, args.steps, -1)


def _images(args):
    if args.tiny:
        found, _ = random_images(args)
        return jax.device_put((found, found))
    dataset = data.load("embedded")
    whole = {split: dict(data.device_arrays(dataset, split=split)) for split in ("train", "valid")}
    mean, std = (np.float32(x) for x in (0.286, 0.353))
    for split in whole.values():
        split["image"] = (np.asarray(split["image"], np.float32) / 255 - mean) / std
    return jax.device_put((whole["train"], whole["valid"]))


def by_population(make, problem, seed):
    """The least loss of the last round, and the hyperparameters that it has."""
    args = problem.args
    search = make(SPACE, members=args.members)
    first = begin_search(search, problem.loop, problem.begin(seed), rounds=args.rounds, seed=seed)
    done = run_search(
        search, problem.loop, first, problem.train, problem.orders(seed), *problem.valid,
        how=args.how,
    )  # fmt: skip
    best, last = best_index(search, done), jax.device_get(done.lineage.row(args.rounds - 1))
    return float(last.scores[best]), {name: float(x[best]) for name, x in last.values.items()}


def by_chance(problem, seed):
    """Random search: copies that train to the end."""
    args = problem.args
    values = as_space("search", SPACE).draw(jax.random.key(seed), args.members)
    found = sweep(
        problem.loop, problem.begin(seed), problem.train, problem.orders(seed), *problem.valid,
        how=args.how, **{name: np.asarray(x) for name, x in values.items()},
    )  # fmt: skip
    losses = np.where(found.failed, np.nan, found.rows["valid_loss"][:, -1])
    best = int(np.nanargmin(losses))
    return float(losses[best]), {name: float(x[best]) for name, x in values.items()}


def by_optuna(problem, seed):
    """Trials of whole trainings, pruned after a round, until the budget of steps is spent."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    args, orders = problem.args, problem.orders(seed)
    start, left = problem.begin(seed), args.members * args.rounds
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
    )
    best = np.inf, {}
    while left:
        trial = study.ask()
        values = {
            "learning_rate": trial.suggest_float("learning_rate", LOW, HIGH, log=True),
            "weight_decay": trial.suggest_categorical("weight_decay", DECAYS),
        }
        state = open_fit(problem.loop, gradtx.set_hyperparams(start, **values))
        pruned, loss = False, np.inf
        for i in range(args.rounds):
            state, _, told = problem.epoch(state, problem.train, orders[i], *problem.valid)
            loss, left = float(told["valid_loss"]), left - 1
            loss = loss if np.isfinite(loss) else 1e30
            trial.report(loss, i)
            if pruned := trial.should_prune() or not left:
                break
        pruned_state = optuna.trial.TrialState.PRUNED
        study.tell(trial, None if pruned else loss, pruned_state if pruned else None)
        best = min(best, (loss, values), key=lambda pair: pair[0])
    return best


def contestants(problem):
    """Return {name: function of a seed -> (loss, hyperparameters)}."""
    found = {
        "population-based training": partial(by_population, population_based_training, problem),
        "successive halving": partial(by_population, successive_halving, problem),
        "random search (sweep)": partial(by_chance, problem),
    }
    if importlib.util.find_spec("optuna") is not None:
        found["Optuna (TPE, median pruner)"] = partial(by_optuna, problem)
    return found


def compare(args):
    """Return what was measured, by contestant."""
    runs = contestants(Problem(args))
    seconds, cpu, losses = ({name: [] for name in runs} for _ in range(3))
    chosen, first = {name: [] for name in runs}, {}
    for i in range(args.seeds + 1):
        seed = args.seed + max(i - 1, 0)  # the first one twice: once with its compilations
        for name in runs if i % 2 == 0 else reversed(runs):
            began = time.perf_counter(), time.process_time()
            loss, values = runs[name](seed)
            took = time.perf_counter() - began[0], time.process_time() - began[1]
            if i == 0:
                first[name] = took[0]
                continue
            seconds[name].append(took[0])
            cpu[name].append(took[1])
            losses[name].append(loss)
            chosen[name].append(values)
    return {
        name: {
            "valid_loss": losses[name],
            "median_valid_loss": statistics.median(losses[name]),
            "seconds": seconds[name],
            "median_s": statistics.median(seconds[name]),
            "cpu_s": cpu[name],
            "median_cpu_s": statistics.median(cpu[name]),
            "first_s": first[name],
            "hyperparams": chosen[name],
        }
        for name in runs
    }


def _version(package):
    """Of an optional package; None if it is not installed."""
    there = importlib.util.find_spec(package) is not None
    return importlib.metadata.version(package) if there else None


def rows_of(results):
    """The lines of the table; none of them has a target."""
    return [
        row(
            f"{name}: validation loss reached with the same budget of steps",
            "",
            None,
            found["median_valid_loss"],
            note=f"in {found['median_s']:.3g} s, {found['median_cpu_s']:.3g} s of the processor;"
            f" the first one, with compilation, {found['first_s']:.3g} s",
        )
        for name, found in results.items()
    ]


def main(argv=None):
    args = parse(argv)
    if args.tiny:
        args.members, args.rounds, args.steps = 3, 3, 3
        args.batch_size, args.size, args.seeds = 4, 12, 1
    results = compare(args)
    result = {
        "space": {"learning_rate": [LOW, HIGH], "weight_decay": DECAYS},
        "members": args.members,
        "rounds": args.rounds,
        "steps": args.steps,
        "budget": args.members * args.rounds * args.steps,
        "batch_size": args.batch_size,
        "how": args.how,
        "seeds": args.seeds,
        "optuna": _version("optuna"),
        "order": "interleaved: one search of each contestant for every seed",
        "rows": rows_of(results),
        "results": results,
    }
    return finish("search", argv, args.out, result)


if __name__ == "__main__":
    on_huge_pages()
    main()
