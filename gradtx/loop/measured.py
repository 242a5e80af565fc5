"""The metrics of a loop: what they may be, and their states before any batch."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.core.tree import path_name
from gradtx.kinds import is_array
from gradtx.loop.copies import Alike
from gradtx.loop.form import spec
from gradtx.loop.metric import Metric, Running, as_metric, mean_value, no_mean
from gradtx.loop.naming import named
from gradtx.loop.signature import check_signature
from gradtx.loop.state import TRAIN, Metrics, is_of_training, train_column

# What the epoch table, the steps' log and the lines of `gradtx.observers.jsonl` call their own.
COLUMNS = (
    "kind",
    "step",
    "epoch",
    "loss",
    "train_loss",
    "train_loss_mean",
    "valid_loss",
    "time",
    "known",
    "digest",
)
FORM = "(pred, batch) -> float[B]"


def check_metrics(metrics: Any, train_metrics: Any) -> None:
    """Require metrics by name, each with a column of its own.

    Args:
        metrics: of the validation.
        train_metrics: of the training.

    Raises:
        TypeError: if one is no metric.
        ValueError: if one has the name of another column.
    """
    for kind, given in {"metrics": metrics, "train_metrics": train_metrics}.items():
        if not isinstance(given, Mapping):
            raise TypeError(
                f"Loop: `{kind}` must be a dict, name -> function {FORM}; got {given!r}. Pass for"
                f" example {kind}={{'accuracy': accuracy}}."
            )
        for name, metric in given.items():
            if not isinstance(name, str) or not name:
                raise TypeError(f"Loop: names in `{kind}` must be text; got {name!r}. Name it.")
            _check(f"{kind}[{name!r}]", metric)
    columns = [(name, name) for name in metrics]
    columns += [(name, train_column(name)) for name in train_metrics]
    taken = [name for name, column in columns if column in COLUMNS]
    if taken:
        raise ValueError(
            f"Loop: a metric must not have the name of a column of the loop's own; got"
            f" {taken[0]!r}. Give it another name."
        )
    if taken := [name for name in metrics if is_of_training(name)]:
        raise ValueError(
            f"Loop: names that begin with {TRAIN!r} are those of the training's metrics; got"
            f" {taken[0]!r} among `metrics`. Give it another name."
        )


def _check(where: str, metric: Any) -> None:
    if isinstance(metric, Metric):
        check_signature(f"Loop: `{where}.init`", metric.init, "()")
        form = "(state, pred, batch, weight)"
        check_signature(f"Loop: `{where}.update`", metric.update, form, 0, 0, 0, 0)
        check_signature(f"Loop: `{where}.compute`", metric.compute, "(state)", 0)
        return
    if not callable(metric):
        raise TypeError(
            f"Loop: `{where}` must be a function; got {metric!r}. Pass one of {FORM}, or a metric"
            " of gradtx.metrics."
        )
    made = "; or call it, if it makes a metric, as those of gradtx.metrics do"
    check_signature(f"Loop: `{where}`", metric, f"(pred, batch){made}", 0, 0)


def begin_metrics(metrics: Mapping[str, Any], train_metrics: Mapping[str, Any]) -> Metrics:
    """`empty_metrics`, after a look at what the metrics return.

    Args:
        metrics: of the validation, by name.
        train_metrics: of the training, by name.

    Raises:
        TypeError: if a metric's state or value is something else than arrays.
        ValueError: if one of its functions raises.
    """
    for kind, given in {"metrics": metrics, "train_metrics": train_metrics}.items():
        for name, metric in given.items():
            if isinstance(metric, Metric):
                _check_parts(f"Loop.{kind}[{name!r}]", metric)
    return empty_metrics(metrics, train_metrics)


def _check_parts(where: str, metric: Metric) -> None:
    with named(f"{where}.init"):
        state = metric.init()
    wrong = [
        (path, x)
        for path, x in jax.tree.leaves_with_path(state)
        if not is_array(x) and not isinstance(x, bool | int | float)
    ]
    if wrong:
        raise TypeError(
            f"{where}.init: must return a tree of arrays; got {spec(wrong[0][1])} at"
            f" {path_name(wrong[0][0]) or 'the root'}. Return what `update` adds to."
        )
    with named(f"{where}.compute"):
        value = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, metric.compute(state)))
    if not hasattr(value, "dtype") or jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise TypeError(
            f"{where}.compute: must return a number or an array of numbers; got {spec(value)}. Make"
            " a metric of each."
        )


def empty_metrics(metrics: Mapping[str, Any], train_metrics: Mapping[str, Any]) -> Metrics:
    """The running figures before any batch.

    Args:
        metrics: of the validation, by name, beside its loss.
        train_metrics: of the training, by name.
    """

    def begin(metrics: Mapping[str, Any]) -> dict[str, Running]:
        known = {name: as_metric(metric, name) for name, metric in metrics.items()}
        own = lambda x: jnp.array(x, dtype=jnp.result_type(x))
        return {k: Running(jax.tree.map(own, x.init()), Alike(x.compute)) for k, x in known.items()}

    loss = {"loss": Running(no_mean(), Alike(mean_value))}
    zero = jnp.zeros((), jnp.float32)
    states, train_states = loss | begin(metrics), begin(train_metrics)
    return Metrics(zero, jnp.zeros((), jnp.int32), states, zero, train_states=train_states)


def with_functions(
    metrics: Mapping[str, Any], train_metrics: Mapping[str, Any], running: Metrics
) -> Metrics:
    """`running` with the functions of these metrics, if its arrays have the form of theirs.

    So a state goes on with a loop whose metrics are the same, made anew.

    Args:
        metrics: of the validation, by name.
        train_metrics: of the training, by name.
        running: as a state holds it.

    Raises:
        ValueError: if the state was made by a loop with metrics of other names.
    """
    want = (["loss", *metrics], [*train_metrics])
    got = ([*running.states], [*running.train_states])
    if [*map(set, got)] != [*map(set, want)]:
        (valid, train), (had, trained) = want, got
        raise ValueError(
            f"fit: the state must be of a loop with the same metrics, {valid[1:]} and in training"
            f" {train}; got one with {[x for x in had if x != 'loss']} and {trained}. Make it by"
            " this loop's `init`, of the parameters that you have."
        )
    like = jax.eval_shape(lambda: empty_metrics(metrics, train_metrics))
    form = lambda tree: [(k, x.shape, x.dtype) for k, x in jax.tree.leaves_with_path(tree)]
    if form(running) != form(like):
        return running
    return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(running))
