"""Record the left columns of docs/fastai.md for the tests of its tables; run by hand.

    python -m tests.golden.record_fastai_tables        needs fastai; writes fastai_tables.json

Each cell is run in fastai itself, in float64: an optimizer with the parameters and gradients of
torch_optimizers.json, the rest with the model, parameters and batches of the page.
"""

import io
import json
import tempfile
from contextlib import chdir, redirect_stdout
from pathlib import Path

import fastai
import numpy as np
import torch
from fastai import basics
from fastai.basics import (
    AvgMetric,
    AvgSmoothLoss,
    Callback,
    DataLoader,
    DataLoaders,
    L,
    Learner,
    Module,
    Optimizer,
    sgd_step,
)
from fastai.callback import all as callbacks
from fastai.callback.all import (
    CSVLogger,
    GradientClip,
    MixUp,
    ModelResetter,
    RNNCallback,
    RNNRegularizer,
    TerminateOnNaNCallback,
)
from fastai.optimizer import SGD, Adam, Lamb, Larc, QHAdam, RAdam, RMSProp, ranger
from torch import nn

from tests.docs.fastai_cells import (
    RECORD,
    REQUEST_AT_STEP,
    REQUESTED_AT,
    UPDATES,
    inputs_of,
    spoilt,
)
from tests.markdown import ROOT, equivalences, run

PAGE = ROOT / "docs" / "fastai.md"


def double(x):
    return torch.tensor(np.asarray(x), dtype=torch.float64)


class Net(Module):
    """`Net` of the page."""

    def __init__(self, params):
        self.dense, self.norm = nn.Linear(3, 4, bias=False), nn.LayerNorm(4)
        self.head = nn.Linear(4, 1)
        self.double()
        with torch.no_grad():
            self.dense.weight.copy_(double(params["body_dense"]["kernel"]).T)
            self.head.weight.copy_(double(params["head"]["kernel"]).T)
            self.head.bias.copy_(double(params["head"]["bias"]))

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.dense(x))))[:, 0]

    def numbers(self):
        return {
            "body_dense": {"kernel": self.dense.weight.T},
            "body_norm": {"scale": self.norm.weight, "bias": self.norm.bias},
            "head": {"kernel": self.head.weight.T, "bias": self.head.bias},
        }


class Recurrent(Module):
    """`recurrent` of the page."""

    def __init__(self, params):
        for name, value in params.items():
            setattr(self, name, nn.Parameter(double(value)))
        self.reset()

    def reset(self):
        self.h = torch.zeros(8, 2, dtype=torch.float64)

    def forward(self, x):
        h, raw = self.h, []
        for t in range(x.shape[1]):
            h = torch.tanh(x[:, t, None] @ self.input + h @ self.hidden)
            raw.append(h)
        self.h, raw = h.detach(), torch.stack(raw, dim=1)
        dropped = raw * double([2.0, 0.0])
        return dropped[:, -1] @ self.output, raw, dropped

    def numbers(self):
        return dict(self.named_parameters())


class Watch(Callback):
    """What each training batch used."""

    order = 90  # after those that set it

    def before_fit(self):
        if not hasattr(self, "rates"):
            self.rates, self.momenta = [], []

    def before_batch(self):
        if self.training:
            self.rates.append([h["lr"] for h in self.opt.hypers])
            self.momenta.append(self.opt.hypers[-1]["mom"])


class Late(Callback):
    order = 12


def halve(self):
    for p in self.learn.model.parameters():
        p.grad /= 2


def splitter(model):
    return [[*model.dense.parameters(), *model.norm.parameters()], [*model.head.parameters()]]


def squares(pred, y):
    return ((pred - y) ** 2).mean()


def error(pred, y):
    return (pred - y).abs().mean()


def loaders(batches):
    pairs = lambda some: [pair for b in some for pair in zip(b["x"], b["y"], strict=True)]
    parts = [[(double(x), double(y)) for x, y in pairs(b)] for b in (batches[:5], batches[5:])]
    return DataLoaders(*(DataLoader(part, bs=8, num_workers=0) for part in parts))


class Session:
    """The names that a cell knows: new ones for each."""

    def __init__(self, page):
        self.page, self.watch = page, Watch()
        self.names = page | vars(basics) | vars(callbacks) | globals()
        self.names |= {"dls": loaders(page["batches"]), "model": Net(page["params"])}
        self.names |= {"loss_func": squares, "metrics": [AvgMetric(error)]}
        self.names |= {"cbs": [GradientClip(0.5)], "penalty": lambda pred: 0.1 * (pred**2).mean()}
        self.names["learn"] = self.learner()

    def learner(self, *cbs, model=None):
        names = self.names
        how = {"lr": names["lr"], "metrics": names["metrics"], "cbs": [self.watch, *cbs]}
        how |= {"splitter": splitter} if model is None else {}
        return Learner(names["dls"], model or names["model"], names["loss_func"], **how)

    def fit(self, learn):
        learn.fit(self.page["n"])
        return self.outcome(learn)

    def outcome(self, learn):
        return {
            "params": learn.model.numbers(),
            "columns": learn.recorder.metric_names,
            "rows": learn.recorder.values,
            "losses": learn.recorder.losses,
            "learning_rate": self.watch.rates,
            "momentum": self.watch.momenta,
            "momentum_left": learn.opt.hypers[-1]["mom"],
        }

    def learner_cell(self, left):
        """It fits `learn`, or it makes or changes a learner, which is fitted then."""
        names = self.names
        exec(left if ";" in left else f"result = {left}", names)
        learn = names.get("result") or names["learn"]
        if self.watch not in learn.cbs:
            learn.add_cb(self.watch)
        return self.outcome(learn) if hasattr(self.watch, "rates") else self.fit(learn)

    def order_cell(self, left):
        return self.fit(self.learner(*self.names["cbs"], eval(left, self.names)))

    def callback_cell(self, left):
        callback = eval(left, self.names)
        if isinstance(callback, TerminateOnNaNCallback):
            self.names["dls"] = loaders(spoilt(self.page["batches"]))
        if isinstance(callback, MixUp):
            return self.mixed(callback)
        if isinstance(callback, ModelResetter | RNNRegularizer):
            model = Recurrent(self.page["rnn_params"])
            return self.fit(self.learner(RNNCallback(), callback, model=model))
        made = self.fit(self.learner(callback))
        if isinstance(callback, CSVLogger):
            made["text"] = Path("history.csv").read_text()
        return made

    def mixed(self, callback):
        """The shares of many examples."""
        learn = self.learner(callback)
        torch.manual_seed(0)
        learn.xb = learn.yb = (torch.arange(20000.0),)
        callback.before_train()
        callback.before_batch()
        return {"share": np.quantile(callback.lam.numpy(), np.linspace(0, 1, 11)).tolist()}

    def request_cell(self, left):
        code, asked, names = compile(left, left, "exec"), [], self.names

        def method(self):
            here = not self.training if "Valid" in left else self.training
            here = here and ("Valid" in left or self.train_iter == REQUEST_AT_STEP)
            if not left.startswith("raise") or (here and not asked):
                asked.append(True)
                exec(code, names | {"self": self})

        learn = self.learner(Callback(**{REQUESTED_AT[left]: method}))
        made = self.fit(learn)
        steps = learn.opt.state[learn.model.head.bias]["step"]
        return {"params": made["params"], "batches": len(self.watch.rates), "updates": steps}

    def value_cell(self, left):
        learn = self.names["learn"]
        if "recorder" in left:
            learn.fit(self.page["n"])
        value = eval(left, self.names)
        if isinstance(value, slice):
            groups = [[nn.Parameter(torch.zeros(1))] for _ in self.page["layers"].rules]
            optimizer = Optimizer(groups, [sgd_step])
            optimizer.set_hyper("lr", value)
            return [h["lr"] for h in optimizer.hypers]
        if "lr_find" not in left:
            return value
        recorder = learn.recorder
        return {"suggestions": value._asdict(), "losses": recorder.losses, "rates": recorder.lrs}


def reset(self):
    """fastai's own, but in float64; it refuses to average other losses than float32."""
    self.count, self.val = 0, double(0.0)


def optimizer_cell(session, left):
    """The parameters after each step."""
    record = json.loads((RECORD.parent / "torch_optimizers.json").read_text())
    later = lambda make: lambda **how: lambda params: make(params, **how)
    made = {f.__name__: later(f) for f in (SGD, RMSProp, Adam, RAdam, QHAdam, Larc, Lamb, ranger)}
    params = {key: nn.Parameter(double(value)) for key, value in record["start"].items()}
    optimizer = eval(left, session.names | made | {"params": list(params.values())})
    optimizer = optimizer if isinstance(optimizer, Optimizer) else optimizer(list(params.values()))
    out = []
    for grads in record["grads"]:
        for key, p in params.items():
            p.grad = double(grads[key])
        optimizer.step()
        out.append(plain(params))
    return out


def schedule_cell(session, left):
    """The values at the positions k / UPDATES."""
    schedule = eval(left, session.names)
    return [float(schedule(k / UPDATES)) for k in range(UPDATES)]


def plain(tree):
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple | L):
        return [plain(value) for value in tree]
    if isinstance(tree, torch.Tensor):
        return tree.detach().numpy().tolist()
    return tree if isinstance(tree, str | int) or tree is None else float(tree)


def main():
    AvgSmoothLoss.reset = reset
    page, cells = run(PAGE), {}
    kinds = {
        "fastai": optimizer_cell,
        "fastai schedules": schedule_cell,
        "fastai learner": Session.learner_cell,
        "fastai values": Session.value_cell,
        "fastai requests": Session.request_cell,
        "fastai order": Session.order_cell,
        "fastai callbacks": Session.callback_cell,
    }
    for kind, record in kinds.items():
        for row in equivalences(PAGE, kind):
            print(row.left)
            with tempfile.TemporaryDirectory() as folder, chdir(folder):
                with redirect_stdout(io.StringIO()):
                    cells[row.left] = plain(record(Session(page), row.left))
    versions = {"fastai": fastai.__version__, "torch": torch.__version__}
    record = versions | {"inputs": inputs_of(page), "cells": cells}
    RECORD.write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
