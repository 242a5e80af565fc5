"""The rule of unwinding, written down once more: nested levels and one pending request."""

from collections import Counter

from gradtx.loop import Request


class Rule:
    """Runs the levels of a fit; `asks` maps (event, occurrence) to a request."""

    def __init__(self, asks):
        self.asks, self.pending, self.seen = asks, 0, Counter()
        self.events = []
        self.updates = self.batches = 0

    def event(self, name):
        self.events.append(name)
        self.pending = max(self.pending, self.asks.get((name, self.seen[name]), 0))
        self.seen[name] += 1

    def level(self, name, request, *parts):
        """Open, run the parts until someone asks to end this level or an outer one, close."""
        self.event(f"before_{name}")
        for part in parts:
            if self.pending < request:
                part()
        if self.pending == request:
            self.event(f"after_cancel_{name}")
        self.event(f"after_{name}")
        if self.pending <= request:
            self.pending = 0

    def train_batch(self):
        stepped = []
        self.batches += 1
        self.level(
            "batch",
            Request.SKIP_BATCH,
            lambda: self.event("after_pred"),
            lambda: self.event("after_loss"),
            lambda: self.level("backward", Request.SKIP_BACKWARD),
            lambda: self.level(
                "step",
                Request.SKIP_STEP,
                lambda: self.event("after_update"),
                lambda: stepped.append(True),
            ),
            lambda: self.kept(stepped),
        )

    def kept(self, stepped):
        self.updates += len(stepped)

    def valid_batch(self):
        predict = lambda: self.event("after_pred"), lambda: self.event("after_loss")
        self.level("batch", Request.SKIP_BATCH, *predict)

    def epoch(self, train, valid):
        phase = lambda name, parts: lambda: self.level(name, Request.END_PHASE, *parts)
        self.level(
            "epoch",
            Request.END_EPOCH,
            phase("train", [self.train_batch] * train),
            phase("validate", [self.valid_batch] * valid),
        )

    def fit(self, epochs, train, valid):
        epoch = lambda: self.epoch(train, valid)
        self.level("fit", Request.END_FIT, *[epoch] * epochs)
        return self
