"""Where batches come from: lists, functions, loaders of other libraries."""

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gradtx.core.foreign import as_arrays, close
from gradtx.kinds import is_array
from gradtx.loop.signature import required
from gradtx.parallel.axes import on_automatic


def of_epoch(train: Any, epoch: int, start: int) -> Iterable[Any]:
    """The training batches of an epoch from number `start` on, as arrays.

    A function is called anew: train(epoch, start), train(epoch) or train(), as it takes it; of the
    latter two, and of what is no function, the first `start` batches are passed over.

    Args:
        train: as `fit` takes it.
        epoch: the epoch.
        start: the first batch.
    """
    if not callable(train):
        return Arrays(train, start, ends=False)
    given = (epoch, start)[: arguments_of(train)]
    return Arrays(batches_of("fit: `train`", train, *given), start if len(given) < 2 else 0)


def of_validation(valid: Any, what: str = "fit: `valid`") -> Iterable[Any]:
    """The validation batches, as arrays.

    Args:
        valid: as `fit` takes it.
        what: the beginning of a message: the function that was called, and the argument.
    """
    return Arrays(batches_of(what, valid), ends=callable(valid))


def arguments_of(train: Callable[..., Any]) -> int:
    """With how many arguments a function of training batches is called: 0, 1 or 2.

    Parameters with defaults are options, as those of a generator function often are, unless they
    are called `epoch` and `start`.

    Args:
        train: a function that gives batches.
    """
    needed = required(train)
    if needed is None or needed > 1:
        return 2
    names = [*inspect.signature(train).parameters, "", ""]
    if needed == 0 and names[0] != "epoch":
        return 0
    return 2 if names[1] == "start" else 1


def are_several(x: Any) -> bool:
    """Whether it may give batches; a dict is one, and what it gives one after another are names.

    Args:
        x: anything.
    """
    if is_array(x):
        return x.shape != () and "key" not in str(x.dtype)
    return isinstance(x, Iterable) and not isinstance(x, Mapping | str | bytes)


def batches_of(what: str, given: Any, *position: int) -> Iterable[Any]:
    """The batches that an argument gives.

    Args:
        what: the beginning of a message: the function that was called, and the argument.
        given: batches, or a function that returns them.
        position: what the function is called with.

    Raises:
        TypeError: if the function returns something else.
    """
    batches: Any = given(*position) if callable(given) else given
    if not are_several(batches):
        raise TypeError(
            f"{what} must return batches; got {batches!r:.200}. Return a list, or an"
            " iterator, of them."
        )
    return batches


class Arrays:
    """Batches as arrays of NumPy or JAX, read anew each time.

    Args:
        source: gives batches, of any library's arrays.
        start: how many are passed over.
        ends: whether `close` ends what the source has begun: not that of a user's own loader.
    """

    def __init__(self, source: Any, start: int = 0, *, ends: bool = True) -> None:  # noqa: D107
        self.source, self.start, self.ends = source, start, ends

    def __iter__(self) -> Iterator[Any]:
        batches = itertools.islice(self.source, self.start, None)
        return (on_automatic(as_arrays(batch)) for batch in batches)

    def close(self) -> None:
        """Let the source end what it has begun."""
        if self.ends:
            close(self.source)
