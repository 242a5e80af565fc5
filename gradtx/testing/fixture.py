"""A small fit to put hooks in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.loop import EVENTS, Hook, Loop, Request, TrainState, eval_step, train_step
from gradtx.loop.phases import close_epoch, close_fit, close_train, open_epoch, open_fit
from gradtx.optimizers import sgd
from gradtx.testing.run import flat, jitted, require, to_float64

PyTree = Any


Script = Sequence[tuple[str, int, Request]]
ASKING = (
    "before_batch",
    "after_pred",
    "after_loss",
    "after_backward",
    "before_step",
    "after_batch",
)
MOST_STEPS = 16


@dataclass(frozen=True)
class Program:
    """A loop with its compiled steps, and how often each was traced."""

    loop: Loop
    train: Callable
    evaluate: Callable
    traces: dict[str, int]


@dataclass(frozen=True)
class Fixture:
    """A loop, what it starts from, and the batches of its one epoch."""

    loop: Loop
    params: PyTree
    batches: Sequence[PyTree]
    model_state: PyTree = None
    programs: dict[tuple[int, ...], Any] = field(default_factory=dict, repr=False)

    def program(self, hooks: Sequence[Hook]) -> Program:
        """The loop with more hooks, compiled once for the same ones."""
        key = tuple(map(id, hooks))
        if key not in self.programs:
            loop = replace(self.loop, hooks=(*self.loop.hooks, *hooks))
            traces = {"train": 0, "evaluate": 0}

            def counted(name: str, step: Callable) -> Callable:
                def traced(state: TrainState, batch: PyTree) -> Any:
                    traces[name] += 1
                    return step(loop, state, batch)

                return jitted(traced)

            steps = counted("train", train_step), counted("evaluate", eval_step)
            # The hooks are kept with it, so that their ids stay theirs.
            self.programs[key] = Program(loop, *steps, traces), tuple(hooks)
        return self.programs[key][0]

    def start(self, loop: Loop) -> TrainState:
        """A state of its own buffers."""
        fresh = partial(jax.tree.map, jnp.array)
        return loop.init(fresh(self.params), fresh(self.model_state))

    def fit(
        self,
        hooks: Sequence[Hook] = (),
        *,
        scripts: Mapping[str, Script] | None = None,
        jit: bool = True,
        between: Callable = lambda state: state,
    ) -> TrainState:
        """The whole fit, batch by batch.

        `scripts` gives `requesting` hooks, by name, what to ask for; `between` is applied to the
        state before every batch.
        """
        program = self.program(hooks)
        loop, train, evaluate = program.loop, program.train, program.evaluate
        if not jit:
            train, evaluate = partial(train_step, loop), partial(eval_step, loop)
        state = self.start(loop)
        tables = {name: table(script) for name, script in (scripts or {}).items()}
        state = open_epoch(loop, open_fit(loop, state.replace(hooks=state.hooks | tables)))
        for batch in self.batches:
            state, _ = train(between(state), batch)
        state = evaluate(close_train(loop, state, validate=True), self.batches[0])
        return close_fit(loop, close_epoch(loop, state))


def default_fixture() -> Fixture:
    """Linear regression by SGD with momentum: three batches of four."""

    def apply(params: PyTree, model_state: PyTree, batch: PyTree, *, key: Any, training: bool):
        del key, training
        return jnp.sum(batch["x"] * params["w"][None], axis=1), model_state

    loss = lambda pred, batch: jnp.square(pred - batch["y"])
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    batches = [{"x": draw(4, 3), "y": draw(4)} for _ in range(3)]
    return Fixture(Loop(apply, loss, sgd(0.1, momentum=0.9)), {"w": draw(3)}, batches)


def no_op(name: str, **order: Any) -> Hook:
    """A hook that listens to every event and does nothing."""
    return Hook(name, dict.fromkeys(EVENTS, lambda state, context: (state, context)), **order)


def counting(name: str = "counts") -> Hook:
    """A hook whose state counts how often each event was seen, in int32."""

    def count(event: str) -> Callable:
        return lambda state, context: (state | {event: state[event] + 1}, context)

    start = lambda state: {event: jnp.zeros((), jnp.int32) for event in EVENTS}
    return Hook(name, {event: count(event) for event in EVENTS}, start)


def requesting(name: str = "requests", **order: Any) -> Hook:
    """A hook that follows a script, which is in its state: so one program serves all scripts."""

    def ask(row: int) -> Callable:
        return lambda state, context: (state, context.request(state[row, context.step]))

    return Hook(
        name, {event: ask(i) for i, event in enumerate(ASKING)}, lambda state: table(()), **order
    )


def table(script: Script) -> jax.Array:
    """int32[events, steps]: the request that a script asks for at each event of each step."""
    out = np.zeros((len(ASKING), MOST_STEPS), np.int32)
    for event, step, request in script:
        row = ASKING.index(event)
        out[row, step] = max(out[row, step], request)
    return jnp.asarray(out)


NO_OP, COUNTS = no_op("nothing"), counting()
REQUESTS, OTHERS = requesting(), requesting("others")


def same_state(got: TrainState, want: TrainState, tolerance: float, what: tuple[str, str]) -> None:
    """Require that two states agree: exactly, or to a share of each leaf's largest value."""
    left, right = flat(got), flat(want)
    require(list(left) == list(right), f"the leaves differ: {list(left)} and {list(right)}")
    for path, leaf in left.items():
        if leaf is None:
            continue
        a, b = to_float64(leaf), to_float64(right[path])
        room = tolerance * float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
        with np.errstate(invalid="ignore"):
            close = (np.abs(a - b) <= room) | (a == b) | (np.isnan(a) & np.isnan(b))
        require(close.all(), f"{path}: {what[0]} {a.tolist()}, {what[1]} {b.tolist()}")
