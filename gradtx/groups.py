"""Groups of parameters, and a hyperparameter with a value for each.

Which parameter is in which group a grouping says: see `gradtx.labels`, whose names are here too.
"""

from collections.abc import Mapping

from gradtx.hyper import OneValue, PerGroup, Schedule, source_of
from gradtx.labels import (
    Grouping,
    LabelBy,
    Predicate,
    Rule,
    label_by,
    labels_of,
    matching,
    norm_or_bias,
    vector_or_scalar,
)

__all__ = [
    "Grouping",
    "LabelBy",
    "Predicate",
    "Rule",
    "by_group",
    "discriminative",
    "label_by",
    "labels_of",
    "matching",
    "norm_or_bias",
    "vector_or_scalar",
]


def by_group(
    grouping: Grouping,
    values: Mapping[str, OneValue] | None = None,
    /,
    **more: OneValue,
) -> PerGroup:
    """A hyperparameter with a value for each group, for any argument of a leafwise transform.

    The values are numbers, schedules or JAX scalars, live as any: `hyperparams(state)` gives a
    dict of them. The transform stays one pass over the whole tree, and its state like `params`.

    >>> import gradtx, jax.numpy as jnp
    >>> decay = by_group(label_by(none=norm_or_bias, rest="*"), none=0.0, rest=0.01)
    >>> tx = gradtx.adamw(0.1, weight_decay=decay)
    >>> params = {"bias": jnp.ones(1), "kernel": jnp.ones(1)}
    >>> updates, _ = tx.update({"bias": jnp.zeros(1), "kernel": jnp.zeros(1)}, tx.init(params), params)
    >>> [round(float(updates[name][0]), 6) for name in ("bias", "kernel")]
    [-0.0, -0.001]

    Raises:
        ValueError: if the groups of `grouping` and of the values differ; on `init`, if a parameter
            has no group.
    """  # noqa: E501
    values = dict(values or {}) | more
    if isinstance(grouping, LabelBy) and set(grouping.rules) != set(values):
        raise ValueError(
            f"by_group: there must be one value for each group; got values for {sorted(values)},"
            f" and groups {sorted(grouping.rules)}. Name both alike."
        )
    return PerGroup(lambda tree: labels_of("by_group", grouping, tree, values), values)


def discriminative(
    grouping: LabelBy,
    stop: float,
    *,
    start: float | None = None,
    shape: Schedule | None = None,
) -> PerGroup:
    """Learning rates that rise from the first group to the last.

        rate_i = start (stop / start)^(i / (n - 1))         i = 0 ... n - 1, in the order of groups
        rate_i = stop / 10, and stop for the last group     without `start`

    With `shape`, a schedule, the rates are rate_i shape(count): one curve, scaled to each group.
    The order is that of the rules in `grouping`; a single group gets `stop`.

    >>> groups = label_by(stem="stem/*", body="body/*", head="head/*")
    >>> [round(rate, 6) for rate in discriminative(groups, 1e-2, start=1e-4).values.values()]
    [0.0001, 0.001, 0.01]
    >>> list(discriminative(groups, 1e-2).values.values())
    [0.001, 0.001, 0.01]

    Raises:
        TypeError: if `grouping` has no order, as a label tree.
        ValueError: if `start` or `stop` is not positive.
    Source: Howard and Ruder (2018), section 3.2; the geometric spread is fastai's.
    """
    if not isinstance(grouping, LabelBy):
        raise TypeError(
            f"discriminative: the groups must have an order; got {type(grouping).__name__}. Make"
            " them with label_by, or give each its rate with by_group."
        )
    for name, value in {"stop": stop, "start": start}.items():
        if value is not None and not (source_of(value) == "number" and value > 0):
            raise ValueError(
                f"discriminative: `{name}` must be a positive number; got {value!r}. Put a"
                " schedule into `shape`, which multiplies the rates."
            )
    n = len(grouping.rules)
    if start is None:
        rates = [stop / 10] * (n - 1) + [stop]
    else:
        rates = [start * (stop / start) ** (i / (n - 1)) for i in range(n - 1)] + [stop]
    values = [rate if shape is None else _scaled(rate, shape) for rate in rates]
    return by_group(grouping, dict(zip(grouping.rules, values, strict=True)))


def _scaled(rate: float, shape: Schedule) -> Schedule:
    return lambda count: rate * shape(count)
