"""The loop's definition: what is trained, by which optimizer, with which hooks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gradtx.core.runtime_hyperparams import hyperparams
from gradtx.core.transformation import as_transformation
from gradtx.core.tree import cast_like, path_name
from gradtx.kinds import Whole, check_kind, checked, is_array
from gradtx.loop.again import first_state
from gradtx.loop.evaluation import (
    AT_TRAINING,
    EVALUATION,
    at_training_point,
    evaluating_at,
)
from gradtx.loop.form import spec
from gradtx.loop.hook import Hook, compose
from gradtx.loop.hook_logs import hook_logs
from gradtx.loop.measured import begin_metrics, check_metrics
from gradtx.loop.metric import Metric
from gradtx.loop.naming import named
from gradtx.loop.seed import key_of
from gradtx.loop.signature import check_signature
from gradtx.loop.state import PyTree, TrainState

FORMS = {"prepare": "(batch, key)", "eval_params": "(opt_state, params)"}


@dataclass(frozen=True, eq=False)
class Loop:
    """What one fit does, as pure functions; all that changes is in a `TrainState`.

        batch              = prepare(batch, key of the epoch)
        pred, model_state' = apply(params, model_state, batch, key=..., training=...)
        objective          = sum(weight loss(pred, batch)) / sum(weight)
        updates, opt_state' = tx.update(gradient of objective, opt_state, params)

    A batch is a pytree, a dict as a rule. If it has an entry "weight" (float[B]), means are
    weighted by it, which is how the last batch of a validation set is filled up. An example of
    weight 0 counts for nothing, whatever its loss and metrics are: what is not finite in it is 0
    for the model and the loss. Only a model or a loss whose derivative is infinite at finite
    values, as that of a square root at 0, still spoils the gradient, for 0 * inf is NaN; replace
    such examples before the model: x = jnp.where(weight[:, None] > 0, x, 1).

    Args:
        apply: the model, (params, model_state, batch, key=..., training=...) -> (pred,
            model_state); `from_linen` makes it from a Flax module.
        loss: (pred, batch) -> float[B], one loss for each example of the batch; or a pair of
            float[B], sums and how many terms each has: the objective is then
            sum(weight sums) / sum(weight counts), as of sentences of many lengths. A function whose
            second parameter is called `labels` or `targets`, as those of Optax's losses are, gets
            the labels in place of the batch, and of its result the mean over all axes but the first
            is taken.
        tx: the optimizer, any gradient transformation.
        metrics: of the validation, by name: a `gradtx.metrics.Metric`, or a function like `loss`,
            whose weighted mean it is.
        hooks: in any order; they are put into the one that they ask for (`compose`).
        prepare: (batch, key) -> batch, what is done to every batch first, on the device, such as
            the augmentations of `gradtx.augment`. In validation the key is None, and nothing is
            random. None: batches are taken as they come.
        examples: the entry of a batch that has one value for each example, and so says how many
            there are; by default "weight", "label", or what all arrays of a batch have in common
            (`gradtx.core.examples.count_examples`), else the number of losses.
        eval_params: (opt_state, params) -> params, where the model is evaluated, if it is not at
            the parameters themselves: `gradtx.schedule_free_eval_params`, `gradtx.transforms`'s
            `averaged_params`, or Optax's. Validation and what `save_best` keeps are there;
            `evaluated_params` gives them for all else.
        label: the entry of a batch that holds the labels, if it is not "label": a loss or a metric
            that takes `label`, as `cross_entropy` does, gets it. Of a tuple it is a place; of a
            pair (inputs, labels) the second by default.
        train_metrics: as `metrics`, of the training batches of an epoch, as training sees them,
            with dropout and before the step that a batch makes; in the epoch table each is called
            `train_` and its name.
        valid_loss: the loss of the validation, as `loss`, which it is by default.
        microbatches: in how many equal parts a training batch goes through the model, one after
            another, for the memory of one part. The gradient is the weighted mean over the whole
            batch all the same. Batch norm sees the examples of a part, and moves its running
            statistics once for each. The events from `after_pred` to `before_backward` happen for
            each part; a model state with a row for each example, as a recurrent one, is refused.
        remat: whether a training computes the model once more for its gradient, instead of keeping
            what it has computed; or which of it to keep, one of `jax.checkpoint_policies`.

    Raises:
        TypeError: if one of these is something else.
        ValueError: if the hooks can't be ordered, or a metric has the name of another column; when
            a state is made, if a hook logs under the name of another entry, or a metric is none.
    """

    apply: Callable[..., tuple[Any, PyTree]]
    loss: Callable[[Any, Any], Any]
    tx: optax.GradientTransformation
    metrics: Mapping[str, Metric | Callable[[Any, Any], Any]] = field(default_factory=dict)
    hooks: Sequence[Hook] = ()
    prepare: Callable[[Any, jax.Array | None], Any] | None = None
    examples: str | None = None
    label: str | int | None = None
    eval_params: Callable[[PyTree, PyTree], PyTree] | None = None
    train_metrics: Mapping[str, Metric | Callable[[Any, Any], Any]] = field(default_factory=dict)
    valid_loss: Callable[[Any, Any], Any] | None = None
    microbatches: int = 1
    remat: bool | Callable[..., Any] = False

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("prepare", "eval_params", "valid_loss")}
        given = {name: function for name, function in given.items() if function is not None}
        _check_functions({"apply": self.apply, "loss": self.loss} | given)
        check_metrics(self.metrics, self.train_metrics)
        check_kind("Loop", "examples", str | None, self.examples, None)
        check_kind("Loop", "label", str | int | None, self.label, None)
        check_kind("Loop", "microbatches", Whole, self.microbatches, 1)
        check_kind("Loop", "remat", bool | Callable[..., Any], self.remat, False)
        tx = as_transformation("Loop", "`tx`", self.tx)
        hooks = compose(self.hooks)
        if self.eval_params is not None:
            hooks = [hook for hook in hooks if hook.name != EVALUATION]
            hooks = compose([*hooks, evaluating_at(self.eval_params)])
        object.__setattr__(self, "hooks", hooks)
        object.__setattr__(self, "tx", tx)

    def init(
        self, params: PyTree, model_state: PyTree = None, *, seed: int | Any = 0
    ) -> TrainState:
        """The state before any step.

        Args:
            params: the parameters that are trained, any pytree of arrays.
            model_state: what else the model needs and changes, any pytree; by default {}.
            seed: an integer, also a traced one, or a typed key: of all random numbers.

        Raises:
            TypeError: if `seed` is something else, or a parameter is not floating.
            ValueError: if a hook logs under a name that is taken, or can't work with this state.
        """
        _check_params(params)
        _check_arrays(model_state)
        params = _own(params)
        zero = lambda: jnp.zeros((), jnp.int32)
        state = TrainState(
            step=zero(),
            epoch=zero(),
            batch=zero(),
            level=zero(),
            requested=zero(),
            key=key_of("Loop.init", seed),
            params=params,
            model_state={} if model_state is None else _own(model_state),
            opt_state=_own(first_state(self.tx, params)),
            metrics=begin_metrics(self.metrics, self.train_metrics),
            hooks={},
        )
        state = state.replace(hooks={hook.name: _fresh(hook, state) for hook in self.hooks})
        _check_told(self.hooks, state)
        return state

    @checked
    def with_hooks(self, state: TrainState, hooks: Sequence[Hook]) -> tuple["Loop", TrainState]:
        """This loop and `state` with more hooks; `without_hooks` is the inverse.

        Args:
            state: one of this loop.
            hooks: to add, after those that the loop has; their states start fresh.

        Raises:
            ValueError: if the hooks can't be ordered, or one logs under a name that is taken.
        """
        loop = replace(self, hooks=(*self.hooks, *hooks))
        more = {hook.name: _fresh(hook, state) for hook in hooks}
        state = state.replace(hooks=state.hooks | more)
        _check_told(loop.hooks, state)
        return loop, state

    @checked
    def without_hooks(self, state: TrainState) -> TrainState:
        """`state` with only the states of this loop's own hooks.

        Args:
            state: one of this loop with more hooks.
        """
        return state.replace(hooks={hook.name: state.hooks[hook.name] for hook in self.hooks})

    @checked
    def evaluated_params(self, state: TrainState) -> PyTree:
        """The parameters at which to evaluate or predict.

            eval_params(opt_state, params), or params without `eval_params`

        Args:
            state: one of this loop.
        """
        if self.eval_params is None:
            return state.params
        return cast_like(self.eval_params(state.opt_state, state.params), state.params)

    @checked
    def faults(self, state: TrainState) -> dict[str, int]:
        """What the hooks have counted that went wrong, by kind.

            faults[kind] = sum over hooks of hook.faults(hook_state)[kind]

        To these comes a validation at the parameters that are trained where the optimizer keeps an
        average of them.

        Args:
            state: one of this loop; it is read on the host.
        """
        found: dict[str, int] = {}
        for hook in self.hooks:
            with named(f"Hook {hook.name!r}.faults"):
                counts = {k: int(n) for k, n in hook.faults(state.hooks[hook.name]).items()}
            for kind, count in counts.items():
                found[kind] = found.get(kind, 0) + count
        validated = bool(state.metrics.known["valid_loss"])
        declared = self.eval_params is not None or "ema_params" in state.hooks
        if validated and not declared and at_training_point(state.opt_state):
            found[AT_TRAINING] = 1
        return found

    @checked
    def failed(self, state: TrainState) -> jax.Array:
        """Whether a hook has given the fit up: bool[], or bool[n] for n states at once.

            failed = any over hooks of hook.failed(hook_state)

        Args:
            state: one of this loop, or many along a leading axis.
        """
        found = jnp.zeros(jnp.shape(state.step), bool)
        for hook in self.hooks:
            with named(f"Hook {hook.name!r}.failed"):
                found = found | jnp.asarray(hook.failed(state.hooks[hook.name]), bool)
        return found

    @checked
    def failure(self, state: TrainState) -> str | None:
        """Why the first hook that has given the fit up did so, in words; None if none has.

        Args:
            state: one of this loop; it is read on the host.
        """
        for hook in self.hooks:
            if bool(hook.failed(state.hooks[hook.name])):
                with named(f"Hook {hook.name!r}.reason"):
                    return hook.reason(state.hooks[hook.name])
        return None


def _check_functions(functions: Mapping[str, Any]) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(
                f"Loop: `{name}` must be a function; got {function!r}. Its arguments are in the"
                " docstring of gradtx.loop.Loop."
            )
        if name == "apply":
            form = "(params, model_state, batch, key=..., training=...)"
            check_signature("Loop: `apply`", function, form, 0, 0, 0, key=0, training=True)
        else:
            form = FORMS.get(name, "(pred, batch)")
            check_signature(f"Loop: `{name}`", function, form, 0, 0)


def _check_params(params: PyTree) -> None:
    """Require parameters that have a gradient."""
    for path, leaf in jax.tree.leaves_with_path(params):
        dtype = getattr(leaf, "dtype", type(leaf))
        if dtype not in (float, complex) and not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                "Loop.init: every parameter must be floating or complex, since others have no"
                f" gradient; got {spec(leaf)} at {path_name(path)}. Put it into `model_state`."
            )


def _check_arrays(model_state: PyTree) -> None:
    """Require leaves that can be kept in buffers."""
    for path, leaf in jax.tree.leaves_with_path(model_state):
        if not is_array(leaf) and not isinstance(leaf, bool | int | float | complex):
            raise TypeError(
                f"Loop.init: `model_state` must be a tree of arrays; got {leaf!r:.60} at"
                f" {path_name(path) or 'the root'}. Leave it out, or keep it in the model."
            )


def _own(tree: PyTree) -> PyTree:
    """`tree` in buffers of its own, since those of a state are donated together; of strong types.

    Of two leaves in one buffer, as of tied parameters, both become their own.
    """
    return jax.tree.map(lambda x: jnp.array(x, dtype=jnp.result_type(x)), tree)


def _fresh(hook: Hook, state: TrainState) -> PyTree:
    """A hook's first state."""
    with named(f"Hook {hook.name!r}.init", unless=f"{hook.name}:"):
        return _own(hook.init(state))


def _check_told(hooks: Sequence[Hook], state: TrainState) -> None:
    """Find what hooks say wrongly of themselves before there is a step."""
    used = tuple(hyperparams(state.opt_state))
    jax.eval_shape(lambda states: hook_logs(hooks, states, used), state.hooks)
    for hook in hooks:
        told = lambda state, hook=hook: jnp.asarray(hook.failed(state))
        with named(f"Hook {hook.name!r}.failed"):
            failed = jax.eval_shape(told, state.hooks[hook.name])
        if failed.shape or failed.dtype != bool:
            raise ValueError(
                f"Hook {hook.name!r}.failed: must return bool[]; got {spec(failed)}. Compare the"
                " state with something."
            )
