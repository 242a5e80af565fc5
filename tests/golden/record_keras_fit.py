"""Record the left columns of docs/keras.md from "compile and fit" on, for tests/docs/test_keras.py.

    KERAS_BACKEND=jax python -m tests.golden.record_keras_fit

It is run by hand, needs keras, and writes keras_fit.json. The model, the parameters and the data
are those of the page, in float64.
"""

import json

import jax
import keras
import numpy as np
from keras.callbacks import LambdaCallback
from keras.losses import SparseCategoricalCrossentropy
from keras.optimizers import SGD

from tests.docs.keras_cells import BATCHES, EPOCHS, OVERFLOWS, RECORD, inputs_of, spoilt
from tests.markdown import ROOT, equivalences, run

PAGE = ROOT / "docs" / "keras.md"


def new_model(params):
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(hidden))
    for name in params:
        model.get_layer(name).set_weights([params[name]["kernel"], params[name]["bias"]])
    return model


class Later:
    """A model whose `fit(..., how)` waits until all is known that a row says."""

    def __init__(self, params):
        self.model, self.how = new_model(params), {}

    def get_layer(self, name):
        return self.model.get_layer(name)

    def fit(self, _, **how):
        self.how = how


def train(page, code, x=None, **more):
    later = Later(page["params"])
    names = {"optimizer": SGD(0.5, momentum=0.9), "model": later}
    names |= {"loss": SparseCategoricalCrossentropy(from_logits=True)}
    names |= {name: page[name] for name in ("class_weight", "weight")}
    exec(code, globals() | names, names)
    model = later.model
    model.compile(names["optimizer"], names["loss"], metrics=["accuracy"])
    known = {"batch_size": 8, "epochs": 4, "shuffle": False, "verbose": 0} | later.how | more
    x, known["validation_data"] = page["x"] if x is None else x, (page["xv"], page["yv"])
    history = model.fit(x, page["y"], **known).history
    layers = {name: model.get_layer(name).get_weights() for name in page["params"]}
    layers = {k: {"kernel": a.tolist(), "bias": b.tolist()} for k, (a, b) in layers.items()}
    return (
        model,
        history,
        {"params": layers, "loss": history["loss"], "val_loss": history["val_loss"]},
    )


def values(page):
    model, history, _ = train(page, "model.fit(...)")
    names = page | {"model": model, "history": keras.callbacks.History()}
    names["history"].history = history
    return {
        row.left: np.asarray(eval(row.left, names), float).tolist()
        for row in equivalences(PAGE, "keras values")
    }


def with_callback(page, code):
    callback = eval(code, vars(keras.callbacks) | {"history": None})
    if "NaN" not in code:
        return train(page, "model.fit(...)", epochs=EPOCHS, callbacks=[callback])[2]
    begun = []
    count = LambdaCallback(on_train_batch_begin=lambda batch, logs: begun.append(batch))
    train(page, "model.fit(...)", spoilt(page["x"]), epochs=EPOCHS, callbacks=[callback, count])
    return {"ended_at": begun[-1], "batches": len(begun)}


def scales(code):
    """The scale after each batch; stateless, since the stateful one leaks tracers in JAX."""
    optimizer = eval(code, vars(keras.optimizers))
    variable, out = keras.Variable(np.zeros(1)), []
    optimizer.build([variable])
    names = [v.path for v in optimizer.variables]
    own, params = [v.value for v in optimizer.variables], [variable.value]
    for i in range(BATCHES):
        grads = [np.full(1, np.inf if i in OVERFLOWS else 1.0)]
        params, own = optimizer.stateless_apply(own, grads, params)
        out.append(float(own[names.index(optimizer.dynamic_scale.path)]))
    return out


def main():
    jax.config.update("jax_enable_x64", True)
    with jax.enable_x64(False):
        page = run(PAGE)
    keras.config.set_floatx("float64")
    record = {
        "keras": keras.__version__,
        "inputs": inputs_of(page),
        "fit": {row.left: train(page, row.left)[2] for row in equivalences(PAGE, "keras fit")},
        "values": values(page),
        "callbacks": {
            row.left: with_callback(page, row.left) for row in equivalences(PAGE, "keras callbacks")
        },
        "scale": {row.left: scales(row.left) for row in equivalences(PAGE, "keras scale")},
    }
    RECORD.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
