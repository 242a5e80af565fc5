"""The options that make a run a search instead of a training."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

import numpy as np

from gradtx.config import flag, option
from gradtx.tuning.over import parse_over
from gradtx.tuning.sweep import parse_spread

POPULATION = ("over", "members", "rounds")  # what belongs to `--search` alone


@dataclass(frozen=True)
class SearchOptions:
    """What is searched for, and how; by default nothing is.

    Args:
        find_lr: a search for a learning rate instead of a training.
        sweep: "NAME=LOW:HIGH:N": a training of N copies instead, with that hyperparameter spread.
        search: "pbt" or "halving": a search by a population instead, over the space of `over`.
        over: NAME=LOW:HIGH or NAME=A,B,C: what the search chooses from, for each hyperparameter.
        members: of the population; None: 8.
        rounds: after which members are judged and chosen; None: 10.
    """

    PROG: ClassVar[str] = "train.py"

    find_lr: bool = option(False, "raise the learning rate step by step, plot the losses, and stop")
    sweep: str | None = option(
        None,
        "NAME=LOW:HIGH:N: train N copies of a small model in one program, with the hyperparameter"
        " NAME spread geometrically; constant otherwise",
    )
    search: Literal["pbt", "halving"] | None = option(
        None,
        "search by a population in one program: the worst continue from the best, with perturbed"
        " hyperparameters (pbt), or give their places to new candidates (halving)",
    )
    over: tuple[str, ...] | None = option(
        None, "NAME=LOW:HIGH or NAME=A,B,C: what --search chooses from, also several"
    )
    members: int | None = option(
        None, "of the population of --search (default: 8)", least=1, below=2**15
    )
    rounds: int | None = option(
        None,
        "of --search, each a share of the steps of all epochs (default: 10)",
        least=1,
        below=2**15,
    )

    def check_search(self) -> None:
        """Require that the options of searches go together.

        Raises:
            ValueError: if one is not of its form, lacks another or contradicts it.
        """
        _ = self.varied  # checks their form
        kinds = {"--find-lr": self.find_lr, "--sweep": self.sweep, "--search": self.search}
        if len(both := [f"`{name}`" for name, given in kinds.items() if given]) > 1:
            raise ValueError(
                f"{self.PROG}: {' and '.join(reversed(both))} are kinds of runs; got both. Leave"
                " either out."
            )
        own = [name for name in POPULATION if getattr(self, name) is not None]
        if own and self.search is None:
            raise ValueError(
                f"{self.PROG}: `{flag(own[0])}` needs `--search pbt` or `--search halving`; got"
                " neither. Add one."
            )
        if self.search is not None and self.over is None:
            raise ValueError(
                f"{self.PROG}: `--search` needs what to search over; got nothing. Add for example"
                " `--over lr=1e-4:1e-1 weight_decay=0,0.01,0.1`."
            )

    @property
    def swept(self) -> tuple[str, np.ndarray]:
        """The name of the sweep's hyperparameter, and its values."""
        return parse_spread(self.sweep or "")

    @property
    def settings(self) -> dict[str, Any]:
        """The same as `gradtx.tuning.sweep` takes them."""
        name, values = self.swept
        return {name: values}

    @property
    def varied(self) -> tuple[str, tuple[str, ...]] | None:
        """The option that trains a population, and the names of what differs in it; or None."""
        if self.sweep is not None:
            return "--sweep", (parse_spread(self.sweep, f"{self.PROG}: --sweep")[0],)
        if self.search is not None and self.over is not None:
            return "--search", tuple(self.space)
        return None

    @property
    def is_search(self) -> bool:
        """Whether this is a search instead of a training."""
        return self.find_lr or bool(self.sweep or self.search)

    @property
    def space(self) -> dict[str, Any]:
        """What `--search` chooses from, by the names of the command line.

        Raises:
            ValueError: for one that is not of its form, or is there twice.
        """
        where = f"{self.PROG}: --over"
        parsed = [parse_over(text, where) for text in self.over or ()]
        names = [name for name, _ in parsed]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{where} must have each name once; got {twice[0]!r} twice. Keep one.")
        return dict(parsed)

    @property
    def searched(self) -> dict[str, tuple[str, Any]]:
        """The same as the optimizer names it: name -> (its name there, its values)."""
        return {name: (name, values) for name, values in self.space.items()}

    def training_with(self, values: Mapping[str, float]) -> Any:
        """The options of the training that a search was for, with what it has found.

        Args:
            values: by the names of the command line; those without an option are left out.
        """
        known = {field.name for field in fields(self)}
        own = {name: value for name, value in values.items() if name in known}
        none = dict.fromkeys(("sweep", "search", *POPULATION))
        return replace(self, find_lr=False, **none, **own)
