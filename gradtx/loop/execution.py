"""How a host runs the batches of a phase: what it starts, and when it looks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

from gradtx.loop.blocks import Block, blocks, stack
from gradtx.loop.jitted import Jitted
from gradtx.loop.loop import Loop
from gradtx.loop.pace import Pace
from gradtx.loop.program import Program, form_of, program_of
from gradtx.loop.reading import read
from gradtx.loop.state import PyTree, TrainState

Logs = dict[str, Any]
# Given the logs of steps that have ended, arrays [n], and the state after the last of them if it is
# to be seen; says whether the phase goes on.
Deliver = Callable[[Logs, TrainState | None], bool]


class Started(NamedTuple):
    """Steps under way: `logs` are a block's, with a leading axis, of which `count` are meant.

    Or those of one step, without that axis, if it was not run as a block.
    """

    logs: Logs
    count: int
    is_block: bool

    def columns(self) -> Logs:
        """The logs as arrays [count], of logs on the host."""
        return jax.tree.map(lambda x: x[: self.count] if self.is_block else x[None], self.logs)


@dataclass
class Execution:
    """Runs the batches of a fit by jitted programs: a call a step, or in blocks of steps.

    Args:
        run: the jitted parts.
        loop: what is trained.
        steps_per_execution: the most steps in a call; 1 is the plain step, outside any loop.
        pace: how many steps are started before the host looks.
        ran: the forms of the state and the batch of the first step that was run by itself.
    """

    run: Jitted
    loop: Loop
    steps_per_execution: int | str
    pace: Pace = field(default_factory=Pace)
    ran: tuple[Any, ...] = ()

    def train(
        self,
        state: TrainState,
        batches: Iterable[PyTree],
        is_seen: Callable[[], bool],
        deliver: Deliver,
    ) -> TrainState:
        """Run training batches; two groups of steps are under way at a time.

        Args:
            state: as the first of them finds it.
            batches: the rest of an epoch's.
            is_seen: asked once for each batch, in order: whether the state after it is to be seen.
            deliver: told of the steps that have ended; when it says that the phase is over, what
                is under way has changed nothing, and the rest of the batches is left.
        """
        older: list[Started] = []
        newer: list[Started] = []
        for block in blocks(batches, self.steps_per_execution, self._most, is_seen):
            state, started = self._start(state, block)
            newer.append(started)
            self.pace.start()
            if block.is_seen:
                ready, seen, older, newer = older + newer, state, [], []
            elif _count(newer) >= self.pace.steps:
                ready, seen, older, newer = older, None, newer, []
            else:
                continue
            if ready and not self._look(ready, seen, deliver):
                break
        else:
            if older or newer:
                self._look(older + newer, None, deliver)
        self.pace.rest()
        return state

    def validate(self, state: TrainState, batches: Iterable[PyTree]) -> TrainState:
        """Run validation batches.

        Args:
            state: as the first of them finds it.
            batches: all of them.
        """
        for block in blocks(batches, self.steps_per_execution):
            if block.length == 1:
                state = self.run.eval_step(state, *block.batches)
            else:
                state = self.run.eval_block(state, *_stacked(block))
        return state

    def program(self) -> Program | None:
        """What the program of one step takes; None if none was run by itself: a block is another.

        It is there already, and not compiled again.
        """
        return program_of(self.run.train_step.lower(*self.ran)) if self.ran else None

    def _most(self) -> int:
        return self.pace.steps

    def _start(self, state: TrainState, block: Block) -> tuple[TrainState, Started]:
        if block.length == 1:
            self.ran = self.ran or form_of((state, *block.batches))
            state, log = self.run.train_step(state, *block.batches)
            return state, Started(log, 1, False)
        state, logs = self.run.train_block(state, *_stacked(block))
        return state, Started(logs, len(block.batches), True)

    def _look(self, ready: list[Started], seen: TrainState | None, deliver: Deliver) -> bool:
        """Wait for steps, and tell of them."""
        logs = read([started.logs for started in ready])
        self.pace.look(_count(ready))
        arrays = [
            steps._replace(logs=log).columns() for steps, log in zip(ready, logs, strict=True)
        ]
        goes_on = deliver(jax.tree.map(lambda *xs: np.concatenate(xs), *arrays), seen)
        if seen is not None:
            self.pace.rest()  # what an observer does with a state is no step
        return goes_on


def _count(started: list[Started]) -> int:
    return sum(steps.count for steps in started)


def _stacked(block: Block) -> tuple[PyTree, Any]:
    return stack(block.batches, block.length), np.int32(len(block.batches))
