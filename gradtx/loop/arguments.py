"""The arguments of `fit`: what is found wrong before anything is run."""

from collections.abc import Callable, Collection, Iterator, Sized
from numbers import Integral
from typing import Any

from gradtx.kinds import check_kind
from gradtx.loop.loop import Loop
from gradtx.loop.observer import Observer
from gradtx.loop.phases import Level
from gradtx.loop.signature import check_signature
from gradtx.loop.sources import are_several, arguments_of
from gradtx.loop.state import TrainState
from gradtx.loop.telling import Position

# As grain has it, a data set that is repeated for ever has `sys.maxsize` examples.
ENDLESS = 2**40


def check_kinds(loop: Any, state: Any, train: Any, valid: Any, epochs: Any, observers: Any) -> None:
    """Require arguments of the right kinds.

    Args:
        loop: as `fit` takes it, like the rest.
        state: a state of it.
        train: training batches, or a function that gives them.
        valid: validation batches, a function that gives them, or None.
        epochs: a number.
        observers: a list.

    Raises:
        TypeError: naming the argument that is of another kind.
    """
    batches = lambda x: callable(x) or are_several(x)
    # Not any iterable: to look into an iterator would use it up.
    observed = isinstance(observers, Collection) and all(isinstance(o, Observer) for o in observers)
    _require(isinstance(loop, Loop), "loop", loop, "a Loop", "Pass gradtx.loop.Loop(...)")
    is_state = isinstance(state, TrainState)
    _require(is_state, "state", state, "a TrainState", "Pass loop.init(params)")
    a_list = "Pass a list of batches, or a function"
    _require(batches(train), "train", train, "batches", f"{a_list} (epoch, start), (epoch) or ()")
    _require(valid is None or batches(valid), "valid", valid, "batches", f"{a_list} ()")
    whole = isinstance(epochs, Integral) and not isinstance(epochs, bool)
    _require(whole, "epochs", epochs, "a whole number", "Pass for example 5")
    call = "Call the factories: [progress()]"
    _require(observed, "observers", observers, "a list of Observers", call)


def _require(is_right: bool, name: str, given: Any, what: str, do: str, where: str = "fit") -> None:
    if not is_right:
        raise TypeError(f"{where}: `{name}` must be {what}; got {given!r:.200}. {do}.")


def check_evaluated(batches: Any) -> None:
    """Require batches that can be read once.

    Args:
        batches: as `evaluate` takes them.

    Raises:
        TypeError: if they are something else.
        ValueError: if they have no end.
    """
    several = callable(batches) or are_several(batches)
    do = "Pass a list of batches, or a function () that gives them"
    _require(several, "batches", batches, "batches", do, "evaluate")
    _check_end("evaluate", "batches", batches)
    if callable(batches):
        check_signature("evaluate: `batches`", batches, "(), which returns batches")


def check_options(donate: Any, resume: Any) -> None:
    """Require options of the right kinds.

    Args:
        donate: as `fit` takes it.
        resume: as `fit` takes it.

    Raises:
        TypeError: naming the one that is of another kind.
    """
    check_kind("fit", "donate", bool, donate, False)
    check_kind("fit", "resume", Callable[[Any], Any] | None, resume, None)


def check_steps_per_execution(steps: Any) -> None:
    """Require "auto" or a number.

    Args:
        steps: as `fit` takes it.

    Raises:
        ValueError: if it is something else.
    """
    whole = isinstance(steps, Integral) and not isinstance(steps, bool) and int(steps) >= 1
    if steps != "auto" and not whole:
        raise ValueError(
            'fit: `steps_per_execution` must be "auto" or a whole number from 1 on; got'
            f' {steps!r:.200}. Pass "auto", or 1 for a call a step.'
        )


def check_position(at: Position, train: Any, valid: Any, epochs: int) -> None:
    """Require a fit that can go on from where its state is, with batches that can be read anew.

    Args:
        at: the position of the state.
        train: training batches, or a function that gives them.
        valid: validation batches, a function that gives them, or None.
        epochs: how many the fit has.

    Raises:
        TypeError: if a function of batches takes other arguments.
        ValueError: if `epochs` is not right for the state, or the batches can be read only once or
            have no end.
    """
    if epochs < 1:
        raise ValueError(f"fit: `epochs` must be positive; got {epochs}. Pass 1 or more.")
    if at.level != Level.OUTSIDE and at.epoch > epochs:
        raise ValueError(
            f"fit: `epochs` must not be below what the state's fit has done; got {epochs} after"
            f" {at.epoch} epochs. Pass the number that the fit began with."
        )
    for name, batches in (("train", train), ("valid", valid)):
        if isinstance(batches, Iterator):
            raise ValueError(
                f"fit: `{name}` must give its batches anew for every epoch; got an iterator"
                f" ({type(batches).__name__}), which gives them once. Pass a list, or the function"
                " that makes it, without calling it: lambda: ..."
            )
        _check_end("fit", name, batches)
    if callable(train):
        form = "(epoch, start), (epoch) or (), which returns batches"
        check_signature("fit: `train`", train, form, *[0] * arguments_of(train))
    if callable(valid):
        check_signature("fit: `valid`", valid, "(), which returns batches")


def _check_end(where: str, name: str, batches: Any) -> None:
    if isinstance(batches, Sized) and len(batches) >= ENDLESS:
        raise ValueError(
            f"{where}: `{name}` must end, for an epoch is what it gives; got"
            f" {type(batches).__name__} without an end. Leave out `repeat`."
        )
