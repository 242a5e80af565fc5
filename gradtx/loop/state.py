"""What the loop carries, and what an event sees of it."""

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.tree import PyTree
from gradtx.loop.events import Request
from gradtx.loop.metric import Running

SMOOTHING = 0.98
# The figures of the epoch table that training has without validation.
OF_TRAINING = ("train_loss", "train_loss_mean")
TRAIN = "train_"  # with what the name of every such column begins
# What an event sees of a state, and what of it a hook may change.
SEEN = ("step", "epoch", "requested", "params", "model_state", "opt_state", "metrics")
CHANGEABLE = ("requested", "params", "model_state", "opt_state", "metrics")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """All that training remembers: a fit is a fold of a pure function over batches with this.

        state', log = train_step(loop, state, batch)

    Loss scale and everything else that a hook keeps is under `hooks`. Random numbers of a step come
    from `fold_in(key, step)`, so there is no generator to save.

    Args:
        step: int32[], training batches seen, over all fits.
        epoch: int32[], epochs finished in this fit.
        batch: int32[], training batches seen in this epoch.
        level: int32[], the innermost level that is open: see `Level`.
        requested: int32[], the pending request, a `Request`.
        key: key[], from which all random numbers come.
        params: the parameters.
        model_state: what else the model remembers: batch statistics, a recurrent state.
        opt_state: the optimizer's state.
        metrics: the running figures of the phases.
        hooks: each hook's state under its name.
    """

    step: jax.Array
    epoch: jax.Array
    batch: jax.Array
    level: jax.Array
    requested: jax.Array
    key: jax.Array
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    metrics: "Metrics"
    hooks: dict[str, PyTree]

    def replace(self, **changes: Any) -> "TrainState":
        """A copy with the given fields changed.

        Args:
            changes: fields by name.
        """
        return replace(self, **changes)


def _zero() -> jax.Array:
    return jnp.zeros((), jnp.float32)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Metrics:
    """Running figures of the phases.

        smooth loss = average / (1 - 0.98^count)        average' = 0.98 average + 0.02 loss
        mean of the epoch's losses = train_sum / train_weight
        value of a metric = compute(state)              state' = update(state, pred, batch, weight)

    The smooth training loss runs over the whole fit, as fastai's; the other figures start anew in
    every epoch. A loss counts if its batch got as far as before_backward, and weighs more than 0;
    the metrics of the training are those of the same batches.

    Args:
        average: float32[], of the training losses.
        count: int32[], how many losses are in it.
        states: of the validation's loss and metrics, by name.
        weight: float32[], the sum of the weights of the validation's examples.
        train_sum: float32[], of weight times loss over the training batches of this epoch.
        train_weight: float32[], the sum of these weights.
        train_states: of the training's metrics, by name.
    """

    average: jax.Array
    count: jax.Array
    states: dict[str, Running]
    weight: jax.Array
    train_sum: jax.Array = field(default_factory=_zero)
    train_weight: jax.Array = field(default_factory=_zero)
    train_states: dict[str, Running] = field(default_factory=dict)

    @property
    def smooth(self) -> jax.Array:
        """The smooth training loss; 0 before the first."""
        # As 1 - 0.98^count in float32 it would lose digits while the count is small.
        share = -jnp.expm1(self.count.astype(jnp.float32) * math.log(SMOOTHING))
        return self.average / jnp.where(self.count > 0, share, 1.0)

    @property
    def figures(self) -> dict[str, jax.Array]:
        """All of them as an epoch table names them; 0 where there is none, as `known` says."""
        train_mean = self.train_sum / jnp.where(self.train_weight > 0, self.train_weight, 1.0)
        own = {"train_loss": self.smooth, "train_loss_mean": train_mean}
        return own | {
            name: jnp.where(weight > 0, running.value, 0)
            for name, (running, weight) in self._gathered.items()
        }

    @property
    def known(self) -> dict[str, jax.Array]:
        """bool[...] for each of the figures, of its shape: whether it has a value."""
        own = {"train_loss": self.count > 0, "train_loss_mean": self.train_weight > 0}
        shapes, gathered = self.shapes, self._gathered
        return own | {k: jnp.broadcast_to(w > 0, shapes[k]) for k, (_, w) in gathered.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each of the figures: () of a number."""
        found = jax.eval_shape(lambda metrics: metrics.figures, self)
        names = ("train_loss", *self._gathered, "train_loss_mean")
        return {name: found[name].shape for name in names}

    @property
    def _gathered(self) -> dict[str, tuple[Running, jax.Array]]:
        """What is gathered for each column, and the sum of the weights that it is of."""
        train = {train_column(k): (x, self.train_weight) for k, x in self.train_states.items()}
        return {_column(k): (x, self.weight) for k, x in self.states.items()} | train

    @property
    def row(self) -> dict[str, jax.Array]:
        """The figures, NaN where there is none, so that no comparison with it holds."""
        known = self.known
        return {k: jnp.where(known[k], value, jnp.nan) for k, value in self.figures.items()}

    @property
    def train_loss(self) -> jax.Array:
        """The smooth training loss; NaN before the first."""
        return jnp.where(self.count > 0, self.smooth, jnp.nan)

    @property
    def valid(self) -> dict[str, jax.Array]:
        """What this epoch's validation has come to; NaN where there was none."""
        row = self.row
        return {name: row[_column(name)] for name in self.states}


def _column(name: str) -> str:
    return "valid_loss" if name == "loss" else name


def train_column(name: str) -> str:
    """What the epoch table calls a metric of the training.

    Args:
        name: as the loop calls it.
    """
    return f"{TRAIN}{name}"


def is_of_training(column: str) -> bool:
    """Whether a column of the epoch table needs no validation.

    Args:
        column: its name.
    """
    return column.startswith(TRAIN)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "step", "epoch", "requested", "key", "params", "model_state", "opt_state", "metrics",
        "batch", "pred", "loss", "objective", "weight", "grads", "updates",
    ],
    meta_fields=["training"],
)  # fmt: skip
@dataclass(frozen=True)
class StepContext:
    """What an event sees and may change with `context.replace(...)`.

        after_loss:   loss = stop_gradient(objective) = sum(weight loss_i) / sum(weight)

    From `batch` on a field is None until the loop has reached it.

    Args:
        training: a Python bool, whether it is a training batch or phase.
        step: int32[], as in `TrainState`; fixed, as `training`, `epoch` and `key` are.
        epoch: int32[], epochs finished in this fit.
        requested: int32[], the pending request; raise it with `request`.
        key: key[], the hook's own in this step.
        params: the parameters.
        model_state: batch statistics, a recurrent state.
        opt_state: the optimizer's state.
        metrics: the running figures of the phases.
        batch: from before_batch on.
        pred: the prediction, from after_pred on.
        loss: float[], what is recorded, from after_loss on.
        objective: float[], what is differentiated: a penalty is added to it.
        weight: float32[], what the batch counts for, from after_loss on: the sum of its weights, or
            the number of its examples.
        grads: the gradients, from after_backward on; of a complex parameter dL/dx + i dL/dy.
        updates: at after_update, between the optimizer's update and its application.
    """

    training: bool
    step: jax.Array
    epoch: jax.Array
    requested: jax.Array
    key: jax.Array
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    metrics: Metrics
    batch: PyTree = None
    pred: PyTree = None
    loss: Any = None
    objective: Any = None
    weight: Any = None
    grads: PyTree = None
    updates: PyTree = None

    def replace(self, **changes: Any) -> "StepContext":
        """A copy with the given fields changed.

        Args:
            changes: fields by name; each new value has the structure, shapes and dtypes of the old
                one.
        """
        return replace(self, **changes)

    def request(self, request: int, when: Any = True) -> "StepContext":
        """A copy in which `request` is requested where `when` holds.

            requested' = max(requested, request if when else 0)

        Args:
            request: a `Request`, or an int32[] of one.
            when: bool[] or a bool.

        Raises:
            ValueError: if `request` is another number; of a traced one nothing is known.
        """
        if not isinstance(request, jax.Array) and request not in tuple(Request):
            names = ", ".join(f"Request.{known.name}" for known in Request)
            raise ValueError(
                f"StepContext.request: `request` must be a Request; got {request!r:.60}. Use one"
                f" of: {names}."
            )
        asked = jnp.where(when, jnp.int32(request), jnp.int32(0))
        return replace(self, requested=jnp.maximum(self.requested, asked))


def context_of(state: TrainState, *, training: bool, batch: PyTree = None) -> StepContext:
    """What an event sees of `state`; `key` is that of the step, from which hooks get theirs.

    Args:
        state: as it is at the event.
        training: whether the event is one of the training phase.
        batch: of an event inside a batch.
    """
    seen = {name: getattr(state, name) for name in SEEN}
    key = jax.random.fold_in(state.key, state.step)
    return StepContext(training=training, key=key, batch=batch, **seen)


def with_changes(state: TrainState, hooks: dict[str, PyTree], context: StepContext) -> TrainState:
    """`state` with what events have left behind: the hooks' states, and their changes.

    Args:
        state: as it was before the events.
        hooks: the hooks' states after them, by name.
        context: as it is after them.
    """
    return state.replace(hooks=hooks, **{name: getattr(context, name) for name in CHANGEABLE})
