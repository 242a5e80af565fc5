"""Record the left columns of docs/keras.md's first tables for tests/docs/test_keras.py.

Run by hand:

    KERAS_BACKEND=jax python -m tests.golden.record_keras_tables

It needs keras, and writes keras_tables.json. An optimizer starts from the parameters and takes the
gradients of torch_optimizers.json, in float64. Of a schedule the values of 20 updates are recorded.
"""

import json
from pathlib import Path

import jax
import keras
import numpy as np
from keras import optimizers

from tests.markdown import ROOT, equivalences

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "keras.md"
UPDATES = 20


def trajectory(optimizer, start, grads):
    params = {key: keras.Variable(np.asarray(x), dtype="float64") for key, x in start.items()}
    optimizer.build(list(params.values()))
    out = []
    for g in grads:
        optimizer.apply([np.asarray(g[key]) for key in params])
        out.append({key: np.asarray(p.value).tolist() for key, p in params.items()})
    return out


def values(schedule):
    return [float(schedule(step)) for step in range(UPDATES)]


def main():
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    record = json.loads((HERE / "torch_optimizers.json").read_text())
    run = lambda code: trajectory(eval(code, vars(optimizers)), record["start"], record["grads"])
    table = {
        "keras": keras.__version__,
        "optimizers": {row.left: run(row.left) for row in equivalences(PAGE, "keras")},
        "schedules": {
            row.left: values(eval(row.left, vars(optimizers.schedules)))
            for row in equivalences(PAGE, "keras schedules")
        },
    }
    (HERE / "keras_tables.json").write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    main()
