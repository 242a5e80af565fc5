"""Directories of runs with known numbers, and a page taken apart: for the tests of the report."""

import json
from html.parser import HTMLParser

import numpy as np

from gradtx.report import Validation, write_validation
from gradtx.report.run import UNREADABLE

CLASSES = ["<b>cat</b>", 'dog" onload="x', "sole & plaice"]
VOID = {"img", "meta", "input"}


class Page(HTMLParser):
    """The elements of a page; every one must be closed in its order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text, self.cells = [], [], "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.seen if name == tag]


def make_run(path, *, seed=0, steps=6, lr=0.1):
    """A directory as train.py leaves it, with known numbers."""
    path.mkdir()
    rng = np.random.default_rng(seed)
    config = {"model": "mlp", "dataset": "folder", "lr": lr, "out": f"<i>{path.name}</i>"}
    config |= {"momentum": 0.9, "momentum_names": ["b1"], "data": "folder-1"}
    (path / "config.json").write_text(json.dumps(config))
    (path / "data.json").write_text(json.dumps({"classes": CLASSES}))
    lines = []
    for step in range(steps):
        more = {"loss": None if step == 2 else 9.0 if step == 4 else 1.0, "train_loss": 1.0}
        more |= {"requested": 0, "learning_rate": {"body": lr, "head": 2 * lr}, "b1": 0.9}
        lines.append({"kind": "step", "step": step, "epoch": step // 3} | more)
        lines[-1]["gradient_norm"] = float(step)
        if step % 3 == 2:
            row = {"train_loss": 1.0, "valid_loss": 0.5, "accuracy": 0.25 * (1 + step // 3)}
            lines.append({"kind": "epoch", "step": step + 1, "epoch": step // 3} | row)
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    skipped = {"split": "train", "index": 7, "why": "folder: <a>.jpg cannot be read"}
    (path / "skipped.jsonl").write_text(json.dumps(skipped) + "\n")
    faults = {"skipped_steps": 3, UNREADABLE: 0}  # older than skipped.jsonl
    (path / "faults.json").write_text(json.dumps(faults))
    labels = np.int32([0, 0, 1, 1, 2, 2])
    p = rng.dirichlet(np.ones(3), 6).astype(np.float32)
    images = rng.integers(0, 256, (2, 5, 4, 3)).astype(np.uint8)
    worst = np.argsort(p[np.arange(6), labels])[:2].astype(np.int32)
    write_validation(Validation(labels, p, worst, images), path / "validation.npz")
    return path


def write_lines(path, records):
    """A file of metrics, without digests."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def make_search(path, *, members=6, rounds=5, **entries):
    """A directory that a search leaves: member 0 is always begun anew, the last takes the best."""
    path.mkdir()
    told, scores = [], np.linspace(0.2, 0.5, members)
    for r in range(rounds):
        parents = list(range(members))
        if r:
            parents[0], parents[-1] = -1, int(np.argmax(scores))
        scores = scores[parents] + 0.01 * np.arange(members)
        rates = [10.0 ** (k - 4) for k in range(members)]
        each = {"step": 10 * (r + 1), "parents": parents, "near": parents}
        each |= {"scores": [None if k == 1 else float(x) for k, x in enumerate(scores)]}
        told.append(each | {"hyperparams": {"learning_rate": rates}})
    whole = {"kind": "pbt", "members": members, "rounds": told} | entries
    (path / "lineage.json").write_text(json.dumps(whole))
    return path
