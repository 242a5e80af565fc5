"""Batch norms of frozen layers, which keep their running statistics in training and use them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import wraps
from inspect import signature
from typing import Any

import jax

from gradtx.core.groups import labels_of
from gradtx.core.partition import Mask, labels_of_mask
from gradtx.kinds import checked
from gradtx.loop.calling import MODES, parameters_of, told
from gradtx.loop.linen import BATCH_STATS
from gradtx.loop.state import PyTree

WHERE = "freeze_norms"
FLAGS = {"use_running_average": False, **MODES}  # what says it to a norm, and its value in training


class _Frozen:
    """The mask of one call of the model, and the norms that it has kept still."""

    def __init__(self, mask: PyTree) -> None:
        self.mask, self.kept = mask, 0

    def holds(self, own: Any) -> bool:
        """Whether a layer is frozen: it has parameters, and all are."""
        leaves = jax.tree.leaves(own)
        frozen = bool(leaves) and all(leaves)
        self.kept += frozen
        return frozen


_frozen: ContextVar[_Frozen | None] = ContextVar("frozen", default=None)


@checked
def freeze_norms(apply: Callable[..., Any], frozen: Mask) -> Callable[..., Any]:
    """`apply` whose batch norms use and keep their running statistics where they are frozen.

        training:   y = (x - mean) / sqrt(var + eps) scale + bias        mean' = mean, var' = var

    for each batch norm that has parameters, all of them frozen; as in validation. Else a frozen
    layer goes on to normalize by the batch, and its running statistics move, though its scale and
    bias stay. Freezing the parameters themselves is the optimizer's: `gradtx.freeze(tx, frozen)`.

    It is for models of Flax linen, also in an `apply` of one's own, and for those that are made by
    `from_nnx` and `from_equinox`.

    Args:
        apply: the model, as `Loop` takes it.
        frozen: a tree of bools like the parameters, a function from these to one, such as
            `gradtx.matching(...)`, or a path pattern, such as "body/*".

    Raises:
        ValueError: in training, if no batch norm is frozen.

    Source: fastai's `BnFreeze`, of layers whose parameters are frozen.
    """
    grouping = labels_of_mask(WHERE, frozen)

    @wraps(apply)
    def wrapped(params: PyTree, model_state: PyTree, batch: Any, *, key: jax.Array, training: bool):
        if not training:
            return apply(params, model_state, batch, key=key, training=training)
        mask, around = labels_of(WHERE, grouping, params, (False, True)), _frozen.get()
        if around is not None:  # frozen twice over
            mask = jax.tree.map(lambda a, b: a or b, mask, around.mask)
        now = _Frozen(mask)
        with ExitStack() as stack:
            token = _frozen.set(now)
            stack.callback(_frozen.reset, token)
            stack.enter_context(_in_linen(now, model_state))
            out = apply(params, model_state, batch, key=key, training=training)
        if around is not None:
            around.kept += now.kept
        if not now.kept:
            raise ValueError(
                f"{WHERE}: `frozen` must hold all parameters of a batch norm, of Flax or Equinox;"
                " got a model in which it holds those of none. Leave it out; in fine_tune, pass"
                " never_frozen=None, too, or norms are not frozen."
            )
        return out

    return wrapped


@contextmanager
def _in_linen(now: _Frozen, model_state: PyTree) -> Iterator[None]:
    """Within it, the calls of frozen linen modules with running statistics are those of validation.

    A norm is known by statistics of its own in the collection "batch_stats".
    """
    stats = model_state.get(BATCH_STATS) if isinstance(model_state, Mapping) else None
    if not stats:
        yield
        return
    from flax import linen as nn

    def intercept(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        module = context.module
        if context.method_name != "__call__" or not _has_own(stats, module.path):
            return call(*args, **kwargs)
        name = next((n for n in FLAGS if n in parameters_of(type(module).__call__)), None)
        if name is None or not now.holds(_at(now.mask, module.path)):
            return call(*args, **kwargs)
        bound = signature(type(module).__call__).bind(module, *args, **kwargs)
        bound.arguments |= told({name: FLAGS[name]}, training=False)
        own = getattr(module, name, None)
        if own is not None:  # said twice, it would be refused
            object.__setattr__(module, name, None)
        try:
            return call(*bound.args[1:], **bound.kwargs)
        finally:
            if own is not None:
                object.__setattr__(module, name, own)

    with nn.intercept_methods(intercept):
        yield


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    """The part of a tree of dicts under a path; None where there is none."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _has_own(stats: Any, path: tuple[str, ...]) -> bool:
    """Whether a module has statistics of its own, not only its parts."""
    own = _at(stats, path)
    return isinstance(own, Mapping) and any(hasattr(x, "dtype") for x in own.values())


def keep_nnx_norms(nnx: Any, module: Any) -> None:
    """Put the frozen norms of an nnx module that is about to be called into their other mode.

    Args:
        nnx: Flax's module of that name.
        module: with its parameters in it; it is changed.
    """
    now = _frozen.get()
    if now is None:
        return
    for path, part in nnx.iter_graph(module):
        if isinstance(part, nnx.BatchNorm) and now.holds(_at(now.mask, path)):
            part.use_running_average = True


def with_equinox_norms(eqx: Any, module: Any) -> Any:
    """An Equinox module whose frozen batch norms are in inference mode.

    Args:
        eqx: Equinox.
        module: with its parameters in it.
    """
    now = _frozen.get()
    if now is None:
        return module
    is_norm = lambda x: isinstance(x, eqx.nn.BatchNorm)

    def still(part: Any, mask: Any) -> Any:
        frozen = is_norm(part) and now.holds(mask)
        return eqx.nn.inference_mode(part) if frozen else part

    return jax.tree.map(still, module, now.mask, is_leaf=is_norm)
