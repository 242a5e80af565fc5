"""How contestants are timed and compared: rounds, ratios within a round, differences of arrays."""

import statistics
import time
from typing import NamedTuple

import jax
import numpy as np


class Rounds(NamedTuple):
    """What some contestants took; each entry is a dict with one value or list for each."""

    wall: dict  # seconds of each round
    cpu: dict  # seconds of this process's threads, in each round
    first: dict  # seconds of the first call, which compiles
    returned: dict  # what each call returned, the first one included


def rounds(runs, repeats, *, keep=True):
    """Call each function of `runs` in turn, `repeats` times after a first call that is apart.

    All take their turn in every round, so that other load on the machine falls on all alike. The
    order turns round from one round to the next. With `keep=False` results are dropped at once.
    """
    wall, cpu, returned = ({name: [] for name in runs} for _ in range(3))
    first = {}
    for i in range(repeats + 1):
        for name in runs if i % 2 == 0 else reversed(runs):
            start = time.perf_counter(), time.process_time()
            result = jax.block_until_ready(runs[name]())
            took = time.perf_counter() - start[0], time.process_time() - start[1]
            if keep:
                returned[name].append(result)
            del result
            if i == 0:
                first[name] = took[0]
            else:
                wall[name].append(took[0])
                cpu[name].append(took[1])
    return Rounds(wall, cpu, first, returned)


def ratio(seconds, slow, fast):
    """The median over rounds of `slow`'s seconds over `fast`'s in the same round."""
    pairs = zip(seconds[slow], seconds[fast], strict=True)
    return statistics.median(a / b for a, b in pairs)


def least_ratio(seconds, slow, fast):
    """`slow`'s least seconds over `fast`'s: of the rounds that other load disturbed least."""
    return min(seconds[slow]) / min(seconds[fast])


def medians(seconds):
    return {name: statistics.median(values) for name, values in seconds.items()}


def spread(seconds):
    """Median, quartiles, least and number of the seconds of some rounds."""
    quartiles = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else seconds * 3
    return {
        "median_s": statistics.median(seconds),
        "quartiles_s": [quartiles[0], quartiles[2]],
        "min_s": min(seconds),
        "n": len(seconds),
    }


def check_close(where, found, expected, *, tolerance):
    """Return the largest difference of two trees, relative to the largest value of its leaf.

    Raises:
        AssertionError: if it is above `tolerance` or not a number.
    """
    difference = 0.0
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        scale = max(float(np.max(np.abs(b), initial=0.0)), np.finfo(np.float32).tiny)
        found_here = float(np.max(np.abs(a - b), initial=0.0)) / scale
        difference = max(found_here, difference)  # in this order a NaN comes through
        if not difference <= tolerance:
            raise AssertionError(
                f"{where}: values must agree within {tolerance:g} of the largest of their leaf;"
                f" got {difference:.3g}."
            )
    return difference


def random_images(args):
    """Random images, labels that depend on them, and the order of one epoch, by `args.seed`."""
    rng = np.random.default_rng(args.seed)
    count = args.steps * args.batch_size
    image = rng.standard_normal((count, args.size, args.size, 1), np.float32)
    label = np.argmax(image.reshape(count, -1)[:, :10], axis=1).astype(np.int32)
    order = rng.permutation(count).astype(np.int32).reshape(1, args.steps, args.batch_size)
    return {"image": image, "label": label}, order
