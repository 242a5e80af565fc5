"""Groups of parameters, by names, and a hyperparameter with a value for each.

A grouping is a function from a tree of parameters to a tree of labels, or such a tree of labels
itself (also a prefix of the parameters' tree). `label_by` makes one from patterns and predicates.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import jax
import optax

from gradtx.core.boxes import named_leaves
from gradtx.core.hyperparams import OneValue, PerGroup, Schedule, source_of
from gradtx.core.tree import PyTree, dtype_of, is_none, path_name, shape_of
from gradtx.kinds import checked, takes

Predicate = Callable[[str, Any], bool]
Rule = str | tuple[str, ...] | list[str] | Predicate
Grouping = Callable[[PyTree], PyTree] | PyTree


def norm_or_bias(path: str, leaf: Any) -> bool:
    """Whether the parameter is named `bias` or `scale`, as biases and normalization's gains are.

    >>> norm_or_bias("block_0/bn/scale", None), norm_or_bias("block_0/conv/kernel", None)
    (True, False)

    Args:
        path: of the parameter, with slashes.
        leaf: the parameter; not looked at.
    """
    del leaf
    # nnx may end a path with the variable's own `value`.
    names = [name for name in path.split("/") if name not in ("value", "raw_value")]
    return bool(names) and names[-1] in ("bias", "scale")


def vector_or_scalar(path: str, leaf: Any) -> bool:
    """Whether the parameter has at most one axis: biases and gains, whatever they are called.

    Args:
        path: of the parameter; not looked at.
        leaf: the parameter, or its shape as a `jax.ShapeDtypeStruct`.
    """
    del path
    return len(shape_of(leaf)) <= 1


@dataclass(frozen=True)
class LabelBy:
    """A grouping by rules; made by `label_by`.

    Args:
        rules: group -> pattern, patterns or predicate; the first that fits decides.
    """

    rules: Mapping[str, Rule]

    def __call__(self, tree: PyTree) -> PyTree:
        """The label of each leaf of `tree`; `None` for a leaf that is `None`."""
        named, treedef = named_leaves(tree), jax.tree.structure(tree, is_leaf=is_none)
        if not any(leaf is not None for _, leaf in named):
            return treedef.unflatten([None] * len(named))
        hits = [[name for name, rule in self.rules.items() if _hit(rule, *x)] for x in named]
        self._check(tree, named, hits)
        # First match wins. A leaf that isn't here, because another group has it, has no label.
        return treedef.unflatten(
            [None if leaf is None else hit[0] for (_, leaf), hit in zip(named, hits, strict=True)]
        )

    def _check(self, tree: PyTree, named: list, hits: list[list[str]]) -> None:
        bare = [
            path for (path, x), hit in zip(named, hits, strict=True) if x is not None and not hit
        ]
        if bare:
            raise ValueError(
                f"label_by: every parameter must be in a group; {len(bare)} of {len(named)} are in"
                f" none: {some(bare)}. Add a rule for them, or a last group with the pattern '*'."
            )
        taken = {hit[0] for hit in hits if hit}
        for name, rule in self.rules.items():
            if callable(rule) or rule == "*" or name in taken or not _is_whole(tree):
                continue
            shadowed = any(name in hit for hit in hits)
            what = (
                "all that it matches are taken by groups before it. Put it before them"
                if shadowed
                else f"no path matches. The paths: {some([path for path, _ in named])}. Correct it"
            )
            raise ValueError(
                f"label_by: a group of patterns must get a parameter; got none for {name!r}"
                f" ({rule!r}): {what}."
            )


def some(paths: list[str], most: int = 5) -> str:
    """A few of `paths`, for a message."""
    more = f" and {len(paths) - most} more" if len(paths) > most else ""
    return ", ".join(paths[:most]) + more


def _hit(rule: Rule, path: str, leaf: Any) -> bool:
    if callable(rule):
        return leaf is not None and bool(rule(path, leaf))
    patterns = (rule,) if isinstance(rule, str) else rule
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def label_by(rules: Mapping[str, Rule] | None = None, /, **more: Rule) -> LabelBy:
    """A grouping by rules, one for each group; the first rule that a parameter fits decides.

    A rule is a pattern, several patterns, or a predicate of (path, leaf). Patterns are matched
    against the whole path, such as `encoder/layer_0/kernel`; `*` stands for anything, slashes too.
    Every parameter must fit a rule. A group of patterns must get a parameter, unless its pattern
    is `*` alone, since one that gets none is misspelled; a predicate may fit none.

    >>> import jax.numpy as jnp
    >>> params = {"body": {"kernel": jnp.ones(1)}, "head": {"kernel": jnp.ones(1)}}
    >>> label_by(head="head/*", rest="*")(params)
    {'body': {'kernel': 'rest'}, 'head': {'kernel': 'head'}}

    Args:
        rules: group -> rule, for groups whose names are no identifiers.
        **more: the same by keyword.

    Raises:
        TypeError: for a rule of another kind.
        ValueError: without rules; when used, naming the parameters that fit no rule.
    """
    rules = dict(rules or {}) | more
    if not rules:
        raise ValueError("label_by: needs at least one group; got none. Pass name='pattern'.")
    for name, rule in rules.items():
        patterns = (rule,) if isinstance(rule, str) else rule
        if not callable(rule) and not (
            isinstance(patterns, tuple | list) and all(isinstance(p, str) for p in patterns)
        ):
            raise TypeError(
                f"label_by: the rule of group {name!r} must be a pattern, several, or a predicate"
                f" of (path, leaf); got {rule!r}. Write for example {name}='encoder/*'."
            )
    return LabelBy(rules)


@checked
def matching(*rules: Rule) -> Callable[[PyTree], PyTree]:
    """A mask: a function from a tree to a tree of bools, True where any of `rules` fits.

    For `masked`, `freeze` and the `mask` arguments of Optax and gradtx. Patterns that match no path
    are an error, since they are misspelled; a predicate may fit none.

    >>> import jax.numpy as jnp
    >>> matching("*/bias")({"conv": {"bias": jnp.ones(1), "kernel": jnp.ones(1)}})
    {'conv': {'bias': True, 'kernel': False}}

    Args:
        *rules: patterns of paths, or predicates of (path, leaf), as in `label_by`.

    Raises:
        ValueError: when used, if all rules are patterns and no path matches one of them.
    """
    return mask_of("matching", rules)


def mask_of(where: str, rules: Sequence[Rule]) -> Callable[[PyTree], PyTree]:
    """`matching(*rules)`, with another name in its message."""

    def mask(tree: PyTree) -> PyTree:
        named = named_leaves(tree)
        hits = [any(_hit(rule, *pair) for rule in rules) for pair in named]
        here = [hit for (_, leaf), hit in zip(named, hits, strict=True) if leaf is not None]
        # A path may match whose leaf isn't here, because another group has it.
        if here and rules and not any(hits) and not any(map(callable, rules)) and _is_whole(tree):
            raise ValueError(
                f"{where}: a pattern must match the path of a parameter; got"
                f" {', '.join(map(repr, rules))}. The paths: {some([path for path, _ in named])}."
                " Patterns are matched against the whole path, and * stands for anything."
            )
        return jax.tree.unflatten(jax.tree.structure(tree), here)

    return mask


def _is_whole(tree: PyTree) -> bool:
    """Whether all paths are in `tree`: in a part of Optax's partition those of other parts lack."""
    is_mark = lambda x: isinstance(x, optax.MaskedNode)
    return not any(map(is_mark, jax.tree.leaves(tree, is_leaf=is_mark)))


def labels_for(where: str, grouping: Grouping, tree: PyTree) -> PyTree:
    """The tree of labels that `grouping` is or, if it is none, makes of `tree`.

    A tree first: a module with `__call__` whose leaves are labels is a tree.
    """
    leaves = jax.tree.leaves(grouping)
    own = not isinstance(grouping, jax.tree_util.Partial) and all(map(_is_label, leaves))
    if not callable(grouping) or (own and leaves):
        return grouping
    if not takes(grouping, 1):
        raise TypeError(
            f"{where}: the function that groups must take one argument, the parameters; got"
            f" {grouping!r:.60}. Write lambda params: ..., or use label_by or matching."
        )
    return grouping(tree)


def _is_label(leaf: Any) -> bool:
    if hasattr(leaf, "dtype"):
        return shape_of(leaf) == () and str(dtype_of(leaf)) == "bool"
    return isinstance(leaf, Hashable) and not callable(leaf)


def labels_of(where: str, grouping: Grouping, tree: PyTree, allowed: Any) -> PyTree:
    """The label of each leaf of `tree`, all of them in `allowed`; `None` leaves have none.

    Raises:
        ValueError: if the labels do not fit the tree, or one is not in `allowed`.
    """
    labels = labels_for(where, grouping, tree)
    if not any(leaf is not None for leaf in jax.tree.leaves(tree)):
        return jax.tree.map(lambda x: None, tree)  # no leaf here, or JAX's own placeholder
    try:
        if _mismatch(labels, tree):
            labels = _in_containers_of(tree, labels)
        # Not tree.map over both: the labels may be a prefix, and the tree may hold None.
        spread = jax.tree.map(
            lambda label, part: jax.tree.map(
                lambda x: None if x is None else label, part, is_leaf=is_none
            ),
            labels,
            tree,
            is_leaf=is_none,
        )
    except ValueError as error:
        raise ValueError(
            f"{where}: the labels must be a tree like the parameters, or a prefix of it; got"
            f" {_mismatch(labels, tree)}. Use label_by to group by path."
        ) from error
    for (path, label), x in zip(
        jax.tree_util.tree_leaves_with_path(spread, is_leaf=is_none),
        jax.tree.leaves(tree, is_leaf=is_none),
        strict=True,
    ):
        if x is not None and not (_is_label(label) and label in allowed):
            raise ValueError(
                f"{where}: every parameter must have one of the labels {list(allowed)}; got"
                f" {label!r} at {path_name(path)}. Add that group; for patterns use label_by."
            )
    return spread


def _mismatch(labels: PyTree, tree: PyTree) -> str:
    """How `labels` fail to be a prefix of `tree`, in JAX's words; "" where they are one."""
    try:
        jax.tree.structure(labels, is_leaf=is_none).flatten_up_to(tree)
    except ValueError as error:
        return str(error).split("; dict: ")[0].removesuffix(".")  # after that, all of the tree
    return ""


def _in_containers_of(tree: PyTree, labels: PyTree) -> PyTree:
    """`labels` for the leaves of `tree`, where the two differ in containers alone.

    A dict of labels is so one for a FrozenDict of parameters. Anything else stays as it is.
    """
    given = dict(jax.tree_util.tree_leaves_with_path(labels, is_leaf=is_none))
    flat, treedef = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_none)
    begins = lambda path: (path[:n] for n in range(len(path) + 1))
    places: list[Any] = [next(filter(given.__contains__, begins(path)), None) for path, _ in flat]
    if {*places} != {*given}:
        return labels
    return treedef.unflatten([given[place] for place in places])


@checked
def by_group(
    grouping: Grouping,
    values: Mapping[str, OneValue] | None = None,
    /,
    **more: OneValue,
) -> PerGroup:
    """A hyperparameter with a value for each group, for any argument of a leafwise transform.

    The values are in the state as any hyperparameter's: `hyperparams(state)` gives a dict of them.
    The transform stays one pass over the whole tree, and its state like `params`.

    >>> import gradtx, jax.numpy as jnp
    >>> decay = by_group(label_by(none=norm_or_bias, rest="*"), none=0.0, rest=0.01)
    >>> tx = gradtx.adamw(0.1, weight_decay=decay)
    >>> params = {"bias": jnp.ones(1), "kernel": jnp.ones(1)}
    >>> grads = {"bias": jnp.zeros(1), "kernel": jnp.zeros(1)}
    >>> updates, _ = tx.update(grads, tx.init(params), params)
    >>> [round(float(updates[name][0]), 6) for name in ("bias", "kernel")]
    [-0.0, -0.001]

    Args:
        grouping: which parameter is in which group: see `label_by`; or a tree of labels.
        values: group -> number, schedule or JAX scalar, for groups whose names are no identifiers.
        **more: the same by keyword.

    Raises:
        ValueError: if the groups of `grouping` and of the values differ; on `init`, if a parameter
            has no group.
    """
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

    Args:
        grouping: the groups in their order.
        stop: the rate of the last group.
        start: the rate of the first group; by default all but the last get a tenth of `stop`.
        shape: a schedule that multiplies every rate.

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
