"""A small fit to try hooks in, and hooks that follow a script."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradtx.loop import EVENTS, Hook, Loop, TrainState, eval_step, train_step
from gradtx.loop.phases import close_epoch, close_fit, close_train, open_epoch, open_fit
from gradtx.optimizers import sgd
from gradtx.testing.run import flat, jitted, require, to_float64

PyTree = Any


# Rows (event, occurrence, request), or with a factor for what `CHANGES` names at that event.
Script = Sequence[tuple[Any, ...]]
ASKING = (  # events of a batch, at which the scripts make requests
    "before_batch",
    "after_pred",
    "after_loss",
    "after_backward",
    "before_step",
    "after_batch",
)
CHANGES = {  # event -> what of the context a row's factor multiplies there
    "before_batch": "params",
    "after_pred": "pred",
    "after_loss": "objective",
    "before_backward": "objective",
    "after_backward": "grads",
    "before_step": "grads",
    "after_update": "updates",
    "after_step": "params",
}
MOST_ROWS = 3
MOST_EVENTS = 400


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

        `scripts` gives `requesting` hooks, by name, the rows that they follow; `between` is applied
        to the state before every batch.
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


def tracing(name: str = "trace", **order: Any) -> Hook:
    """A hook that writes into its state which events happened, in order; `traced` reads them."""

    def write(code: int) -> Callable:
        def on(state: tuple[jax.Array, jax.Array], context: Any) -> Any:
            count, codes = state
            return (count + 1, codes.at[count % MOST_EVENTS].set(code)), context

        return on

    start = lambda state: (jnp.zeros((), jnp.int32), jnp.full((MOST_EVENTS,), -1, jnp.int32))
    return Hook(name, {event: write(code) for code, event in enumerate(EVENTS)}, start, **order)


def traced(state: TrainState, name: str = "trace") -> list[str]:
    """The events that `tracing` has written into `state`, in order."""
    count, codes = state.hooks[name]
    require(int(count) <= MOST_EVENTS, f"{int(count)} events, more than {MOST_EVENTS}")
    return [EVENTS[code] for code in np.asarray(codes)[: int(count)]]


def requesting(
    name: str = "requests",
    *,
    events: Sequence[str] = ASKING,
    changes: Mapping[str, str] | None = None,
    **order: Any,
) -> Hook:
    """A hook that follows a script, which is in its state: so one program serves all scripts.

    At the k-th occurrence of an event it asks for the request of the script's row (event, k,
    request), and multiplies what `changes` names for this event by the row's factor, if it has one.
    """
    changes = {} if changes is None else changes

    def act(event: str) -> Callable:
        code = EVENTS.index(event)

        def on(state: dict[str, jax.Array], context: Any) -> Any:
            now = (state["event"] == code) & (state["occurrence"] == state["seen"][code])
            state = state | {"seen": state["seen"].at[code].add(1)}
            if event in changes:
                factor = jnp.prod(jnp.where(now, state["factor"], 1))
                scale = lambda x: x * factor.astype(x.dtype)
                changed = jax.tree.map(scale, getattr(context, changes[event]))
                context = context.replace(**{changes[event]: changed})
            return state, context.request(jnp.max(jnp.where(now, state["request"], 0)))

        return on

    on = {event: act(event) for event in events}
    return Hook(name, on, lambda state: table(()), **order)


def table(script: Script) -> dict[str, jax.Array]:
    """The state of a `requesting` hook that follows `script`, of at most `MOST_ROWS` rows."""
    nothing = (EVENTS[-1], -1, 0)
    rows = [(*row, 1.0)[:4] for row in [*script, *[nothing] * (MOST_ROWS - len(script))]]
    events, occurrences, requests, factors = zip(*rows, strict=True)
    return {
        "event": jnp.asarray([EVENTS.index(event) for event in events], jnp.int32),
        "occurrence": jnp.asarray(occurrences, jnp.int32),
        "request": jnp.asarray([int(request) for request in requests], jnp.int32),
        "factor": jnp.asarray(factors, jnp.float32),
        "seen": jnp.zeros(len(EVENTS), jnp.int32),
    }


NO_OP, TRACE = no_op("nothing"), tracing()
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
