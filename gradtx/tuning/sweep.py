"""Train copies of one state side by side, each with hyperparameters of its own."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.core.examples import count_examples, has_rows
from gradtx.core.runtime_hyperparams import hyperparams, set_hyperparams
from gradtx.core.tree import Tree
from gradtx.drawing import draw, fragment, grid, picture
from gradtx.kinds import checked
from gradtx.loop import Loop, TrainState, compiled_epoch, with_nan
from gradtx.loop.compiled import check_how, for_each
from gradtx.loop.jitted import KEPT
from gradtx.loop.likeness import LoopKey
from gradtx.loop.phases import close_fit, open_fit
from gradtx.loop.rows import check_order, check_validation
from gradtx.parallel.axes import on_automatic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_COPIES = 1000


class Sweep(NamedTuple):
    """What `sweep` returns, for n copies. A notebook shows it as a table under its curves."""

    states: TrainState  # with a leading axis n
    rows: dict[str, np.ndarray]  # column of the epoch table -> [n, epochs]
    failed: np.ndarray  # bool[n]: whether a hook has given the copy's fit up

    @property
    def last(self) -> dict[str, np.ndarray]:
        """The last row of each copy's epoch table: float[n] by column.

        A copy that failed, as a hook says of its own, has NaN, not the figures from before that.
        """
        rows = {n: x[:, -1] for n, x in self.rows.items() if n not in ("epoch", "train_loss_mean")}
        return {
            name: np.where(self.failed.reshape(-1, *[1] * (x.ndim - 1)), np.nan, x)
            for name, x in rows.items()
        }

    @property
    def best(self) -> int | None:
        """Which copy has the least valid_loss, or without validation train_loss; None if none has.

        Of losses that are not finite none is the least.
        """
        last = self.last
        named = [name for name in ("valid_loss", "train_loss") if name in last]
        losses = next((last[name] for name in named if np.isfinite(last[name]).any()), None)
        return (
            None
            if losses is None
            else int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
        )

    @property
    def swept(self) -> dict[str, np.ndarray]:
        """The hyperparameters in which the copies differ: float[n] by name, or by name.group."""
        found = {}
        for name, value in hyperparams(self.states).items():
            groups = value.items() if isinstance(value, Mapping) else [("", value)]
            found |= {f"{name}.{group}".rstrip("."): np.asarray(x) for group, x in groups}
        return {name: x for name, x in found.items() if x.ndim == 1 and (x != x[0]).any()}

    def figure(self) -> "Figure":
        """The last figures over the hyperparameter that was swept first.

        Raises:
            ValueError: if the copies differ in none.
            ImportError: without matplotlib, from the extra `plot`.
        """
        if not self.swept:
            raise ValueError(
                "Sweep.figure: the copies must differ in a hyperparameter; got none that does. Pass"
                " `sweep` other values."
            )
        name, values = next(iter(self.swept.items()))
        order = np.argsort(values)
        panels = {
            label: {"": (values[order], y[order])}
            for label, y in self.last.items()
            if y.ndim == 1 and label != "time"
        }
        log_x = bool((values > 0).all())
        return draw(panels, xlabel=name, log_x=log_x, marked=[""], points=None)

    def _repr_html_(self) -> str:
        columns = self.swept | self.last
        note = ["failed" if bad else "" for bad in self.failed]
        if self.best is not None:
            note[self.best] = "best"
        rows = [(*(x[i] for x in columns.values()), mark) for i, mark in enumerate(note)]
        curves = [picture(self.figure, "figures over what was swept")] if self.swept else []
        return fragment(*curves, grid([*columns, ""], rows))


@checked
def sweep(
    loop: Loop,
    state: TrainState,
    train: Any,
    orders: jax.Array,
    valid: Any = None,
    valid_order: jax.Array | None = None,
    *,
    how: str = "map",
    each: Callable[[Sweep], Any] | None = None,
    **hyperparams: Any,
) -> Sweep:
    """Train copies of `state`, the i-th with the i-th value of each hyperparameter.

        states_i, rows_i = compiled_fit(loop, set_hyperparams(state, **hyperparams_i), ...)

    An epoch is one jitted program for all copies, which see the same batches and draw the same
    random numbers.

    Args:
        loop: what is trained.
        state: one outside any fit; it stays as it is.
        train: a pytree of arrays with a leading axis of examples.
        orders: int32[epochs, steps, B], rows of indices into `train`.
        valid: the validation set, a pytree like `train`, or None.
        valid_order: int32[valid_steps, B], rows of indices into `valid`, or None with it.
        how: "map" or "vmap", as in `population`.
        each: is given the sweep so far after each epoch, to keep it if the process is ended; it
            must not keep its states, whose buffers go to the next epoch.
        hyperparams: values as in `spread`, n of each.

    Raises:
        ValueError: as `spread` and `population`, or if `valid` and `valid_order` are not together.
    """
    check_validation("sweep", valid, valid_order)
    check_how("sweep", how)
    if not len(orders):
        raise ValueError("sweep: `orders` must have an epoch at least; got none. Add some.")
    check_order("sweep", "orders", orders, train, axes="epochs, steps, B")
    data = (state, train, valid, orders, valid_order)
    state, train, valid, orders, valid_order = on_automatic(data)
    run = _programs(LoopKey(loop), how)
    states, rows = run.open_fit(spread(state, **hyperparams)), []
    for order in orders:
        states, row = run.epoch(states, train, order, valid, valid_order)
        rows.append(jax.device_get(row))
        if each is not None:
            each(_so_far(loop, states, rows))
    return _so_far(loop, run.close_fit(states), rows)


def _so_far(loop: Loop, states: TrainState, rows: Sequence[Mapping[str, Any]]) -> Sweep:
    """The sweep after some epochs, of each of which `rows` has the columns, [n]."""
    columns = with_nan(jax.tree.map(lambda *values: np.stack(values, 1), *rows))
    return Sweep(states, columns, np.asarray(loop.failed(states)))


class _Programs(NamedTuple):
    """Jitted functions of the copies of one loop's states, which are donated."""

    open_fit: Callable[..., Any]
    epoch: Callable[..., Any]
    close_fit: Callable[..., Any]


@lru_cache(maxsize=KEPT)
def _programs(key: LoopKey, how: str) -> _Programs:
    def epoch(states: TrainState, *data: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        def run(state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
            state, _, row = compiled_epoch(key.loop, state, *data)
            return state, row

        return for_each(run, states, how=how)

    each = lambda part: jax.vmap(partial(part, key.loop))
    parts = each(open_fit), epoch, each(close_fit)
    return _Programs(*(jax.jit(part, donate_argnums=0) for part in parts))


def spread(state: Tree, **hyperparams: Any) -> Tree:
    """Copies of `state` along a new leading axis, each with hyperparameters of its own.

        copies_i = set_hyperparams(state, name=values[i], ...)        i = 0 ... n - 1

    >>> import gradtx
    >>> state = gradtx.sgd(0.1).init(jnp.ones(2))
    >>> states = spread(state, learning_rate=[0.5, 0.25])
    >>> gradtx.hyperparams(states)["learning_rate"].tolist()
    [0.5, 0.25]

    Args:
        state: any pytree that holds states of gradtx.
        hyperparams: an array [n] of each, or a dict of them by group, named as for
            `set_hyperparams`.

    Raises:
        ValueError: if there are no values, they are not 1-D or not equally many, or if
            `set_hyperparams` does not accept one.
    """
    is_leaf = lambda x: not isinstance(x, Mapping)
    values = jax.tree.map(np.asarray, hyperparams, is_leaf=is_leaf)
    shapes = [v.shape for v in jax.tree.leaves(values)]
    if not shapes or len(shapes[0]) != 1 or not shapes[0][0] or len(set(shapes)) > 1:
        names = jax.tree_util.tree_leaves_with_path(values)
        got = [f"{jax.tree_util.keystr(k, simple=True)} {v.shape}" for k, v in names]
        raise ValueError(
            "spread: hyperparameters must be 1-D arrays of one length; got"
            f" {', '.join(got) or 'none'}. Pass as many values of each as there shall be copies."
        )
    n = shapes[0][0]
    pick = lambda i: jax.tree.map(lambda v: v[i], values)
    copies = [set_hyperparams(state, **pick(i)) for i in range(n)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *copies)


@checked
def parse_spread(text: str, where: str = "parse_spread: text") -> tuple[str, np.ndarray]:
    """The name and the values of "NAME=LOW:HIGH:N": N numbers, spread geometrically.

        value_i = LOW (HIGH / LOW)^(i / (N - 1))

    >>> parse_spread("learning_rate=0.25:1:3")
    ('learning_rate', array([0.25, 0.5 , 1.  ]))

    Args:
        text: of this form, with 0 < LOW < HIGH and N from 2 to 1000.
        where: the beginning of the message, if it is not.

    Raises:
        ValueError: beginning with `where`, unless 0 < LOW < HIGH and N is from 2 to 1000.
    """
    try:
        name, numbers = text.split("=")
        low, high, n = numbers.split(":")
        start, end, count = float(low), float(high), int(n)
        if not (name and 0 < start < end < math.inf and 2 <= count <= MOST_COPIES):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{where} must be NAME=LOW:HIGH:N, for example lr=1e-4:1e-1:8, with 0 < LOW < HIGH and"
            f" N from 2 to {MOST_COPIES}; got {text!r}."
        ) from None
    return name, np.geomspace(start, end, count)


@checked
def padded_order(data: Mapping[str, Any], *, batch_size: int) -> tuple[dict[str, Any], np.ndarray]:
    """`data` with one example of weight 0 more, and an order that shows each example once.

        order = [0, 1, ... count - 1, count, count, ...]        int32[ceil(count / B), B]

    The added example fills up the last batch, so weighted means are exact.

    Args:
        data: a dict of arrays [count, ...]; its entry "weight", float[count], is 1 where it is
            missing. What has another length, or none, stays as it is.
        batch_size: B, positive.

    Raises:
        ValueError: if `data` has no examples, or `batch_size` is not positive.
    """
    count = count_examples(data) or 0
    if not count or batch_size < 1:
        raise ValueError(
            f"padded_order: needs an example and a positive `batch_size`; got {count} examples and"
            f" batch_size={batch_size}. Leave validation out if there is no data for it."
        )
    weighted = {"weight": np.ones(count, np.float32), **data}
    filled = lambda x: np.concatenate([x, x[:1]]) if has_rows(x, count) else x
    more = {name: filled(values) for name, values in weighted.items()}
    more["weight"][-1] = 0
    steps = -(-count // batch_size)
    order = np.minimum(np.arange(steps * batch_size, dtype=np.int32), count)
    return more, order.reshape(steps, batch_size)
