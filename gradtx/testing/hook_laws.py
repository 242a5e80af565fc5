"""The laws of hooks and of loops, each a function that raises `LawViolation`."""

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from gradtx.loop import Hook, Request
from gradtx.loop.rule import ENDED_BY
from gradtx.testing.fixture import (
    NO_OP,
    OTHERS,
    REQUESTS,
    TRACE,
    Fixture,
    Script,
    requesting,
    same_state,
    table,
    traced,
)
from gradtx.testing.law import Law, law
from gradtx.testing.laws.memory import through_bytes
from gradtx.testing.run import require

HOOK_LAWS: dict[str, Law] = {}
LOOP_LAWS: dict[str, Law] = {}


def _without(state: Any, *names: str) -> Any:
    return state.replace(hooks={k: v for k, v in state.hooks.items() if k not in names})


def _trained(state: Any) -> Any:
    return {"params": state.params, "opt": state.opt_state, "model": state.model_state}


@law(registry=HOOK_LAWS)
def hook_keeps_its_types(hook: Hook, fixture: Fixture) -> None:
    """A fit leaves the hook's state in the tree, the shapes and the dtypes that `init` gave it.

        h = init(s),  h' = h after a fit  =>  tree, shapes and dtypes of h' are those of h

    Args:
        hook: the hook.
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
    """
    spec = lambda tree: jax.tree.map(lambda x: f"{jnp.result_type(x)}{list(jnp.shape(x))}", tree)
    before = fixture.start(fixture.program([hook]).loop).hooks[hook.name]
    after = fixture.fit([hook]).hooks[hook.name]
    require(spec(before) == spec(after), f"{spec(after)} after a fit, {spec(before)} before")


@law(registry=HOOK_LAWS)
def hook_is_pure(hook: Hook, fixture: Fixture) -> None:
    """A hook remembers nothing outside its state: two fits in Python, without jit, are the same.

        fit(s) = fit(s)

    Args:
        hook: the hook.
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
    """
    first, second = (fixture.fit([hook], jit=False) for _ in range(2))
    same_state(second, first, 0.0, ("the second fit gives", "the first"))


@law(registry=HOOK_LAWS)
def hook_compiles(hook: Hook, fixture: Fixture) -> None:
    """Under jit a hook does what it does in Python, and is traced once.

        jit(step)(s, batch) = step(s, batch)        traces(jit(step)) = 1

    Args:
        hook: the hook.
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
    """
    got = fixture.fit([hook])
    same_state(got, fixture.fit([hook], jit=False), 1e-5, ("jit gives", "Python"))
    count = fixture.program([hook]).traces["train"]
    require(count == 1, f"the step was traced {count} times for {len(fixture.batches)} batches")


@law(registry=HOOK_LAWS)
def hook_ignores_a_no_op(hook: Hook, fixture: Fixture) -> None:
    """A hook that does nothing changes nothing, bit for bit, before this one or after it.

        fit([no_op, hook]) = fit([hook, no_op]) = fit([hook])

    Args:
        hook: the hook.
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
    """
    want = fixture.fit([hook])
    for hooks in ([NO_OP, hook], [hook, NO_OP]):
        order = ", ".join(each.name for each in hooks)
        same_state(
            _without(fixture.fit(hooks), NO_OP.name), want, 0.0, (f"with [{order}]", "alone")
        )


@law(registry=HOOK_LAWS)
def hook_only_raises_the_request(hook: Hook, fixture: Fixture) -> None:
    """Requests are combined by max: a hook can add one, and never takes back another's.

        requested' >= requested  at every event

    Args:
        hook: the hook.
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
    """

    def watched(event: str) -> Any:
        def on(state: Any, context: Any) -> tuple[Any, Any]:
            inner, kept = state
            inner, new = hook.on[event](inner, context)
            return (inner, kept | {event: kept[event] & (new.requested >= context.requested)}), new

        return on

    start = lambda state: (hook.init(state), {event: jnp.array(True) for event in hook.on})
    sampled = hook.sampled
    told: dict[str, Any] = {
        "log": lambda state: hook.log(state[0]),
        "faults": lambda state: hook.faults(state[0]),
        "failed": lambda state: hook.failed(state[0]),
        "reason": lambda state: hook.reason(state[0]),
        "sampled": sampled and (lambda state: sampled(state[0])),
    }
    watch = replace(hook, on={event: watched(event) for event in hook.on}, init=start, **told)
    asks = requesting(run_before=(hook.name,))
    # Requests at different times, so that each event meets one that is pending.
    skips = [("before_batch", 0, Request.SKIP_BACKWARD), ("before_batch", 1, Request.SKIP_STEP)]
    for script in (
        skips,
        [("after_loss", 0, Request.SKIP_BATCH), ("after_loss", 1, Request.END_FIT)],
    ):
        kept = fixture.fit([asks, watch], scripts={asks.name: script}).hooks[hook.name][1]
        lowered = [event for event, fine in kept.items() if not bool(fine)]
        require(not lowered, f"lowers a pending request at {', '.join(lowered)}")


@law(registry=HOOK_LAWS)
def hook_resumes(hook: Hook, fixture: Fixture) -> None:
    """A fit that was saved as bytes before every batch goes on as if nothing had happened.

        step(load(save(s)), batch) = step(s, batch)

    Args:
        hook: the hook.
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
    """
    got = fixture.fit([hook], between=through_bytes)
    same_state(got, fixture.fit([hook]), 0.0, ("resumed", "uninterrupted"))


@law(registry=HOOK_LAWS)
def hook_tells_scalars(hook: Hook, fixture: Fixture) -> None:
    """What a hook says of itself are numbers, and of many states it says what it says of each.

        log(h): numbers by name     faults(h): whole numbers by kind     reason(h): text
        failed([h, h']) = [failed(h), failed(h')]

    Args:
        hook: the hook.
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
    """
    loop = fixture.program([hook]).loop
    first, last = fixture.start(loop), fixture.fit([hook])  # the log is looked at here
    for kind, count in hook.faults(last.hooks[hook.name]).items():
        whole = jnp.issubdtype(jnp.result_type(count), jnp.integer) and not jnp.shape(count)
        require(whole, f"faults: {jnp.result_type(count)}{list(jnp.shape(count))} under {kind!r}")
    reason = hook.reason(last.hooks[hook.name])
    require(isinstance(reason, str), f"reason: {reason!r:.80}")
    each = [hook.failed(state.hooks[hook.name]) for state in (first, last)]
    both = jax.tree.map(lambda *x: jnp.stack(x), first.hooks[hook.name], last.hooks[hook.name])
    many = hook.failed(both)
    constant = isinstance(many, bool) or not jax.tree.leaves(last.hooks[hook.name])
    want, got = jnp.asarray(each, bool), jnp.asarray(many, bool)
    fine = constant or (got.shape == (2,) and bool((got == want).all()))
    require(fine, f"failed: {got.tolist()} of two states at once, {want.tolist()} of each")


@law(registry=HOOK_LAWS, when=lambda claims: claims["observes"])
def hook_observes(hook: Hook, fixture: Fixture) -> None:
    """A hook that only observes leaves the training as it was.

        params, opt_state, model_state after fit([hook]) = those after fit([])

    Args:
        hook: the hook.
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
    """
    got, want = _trained(fixture.fit([hook])), _trained(fixture.fit())
    same_state(got, want, 1e-6, ("with the hook", "without"))


@law(registry=LOOP_LAWS)
def requests_combine(fixture: Fixture, script: Script) -> None:
    """Requests of two hooks combine commutatively, associatively and idempotently, by max.

        fit(a: x, b: y) = fit(a: y, b: x) = fit(a: max(x, y), b: none) = fit(a: x + y, b: x + y)

    Args:
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
        script: the requests to make, a list of (event, occurrence, request), of which `x` is the
            first half and `y` the second.
    """
    half = len(script) // 2
    x, y, both = script[:half], script[half:], list(script)
    fit = lambda a, b: _without(
        fixture.fit([REQUESTS, OTHERS], scripts={"requests": a, "others": b}), "requests", "others"
    )
    want = fit(x, y)
    for way, (a, b) in {
        "changed over": (y, x),
        "by one": (both, ()),
        "twice": (both, both),
    }.items():
        same_state(fit(a, b), want, 0.0, (f"requested {way}", "split in two"))


@law(registry=LOOP_LAWS)
def events_are_nested(fixture: Fixture, script: Script) -> None:
    """Whatever is requested, each level that was opened is closed once.

        n(before_x) = n(after_x)  for x = fit, epoch, train, validate, batch, backward, step

    Args:
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
        script: the requests to make, a list of (event, occurrence, request).
    """
    state = fixture.fit([REQUESTS, TRACE], scripts={"requests": script})
    seen = Counter(traced(state, TRACE.name))
    for level in ENDED_BY:
        opened, closed = seen[f"before_{level}"], seen[f"after_{level}"]
        require(opened == closed, f"{opened} before_{level}, {closed} after_{level}")
    require(seen["before_fit"] == 1, f"{seen['before_fit']} before_fit in one fit")


@law(registry=LOOP_LAWS)
def no_op_changes_nothing(fixture: Fixture, script: Script) -> None:
    """A hook that does nothing changes nothing, bit for bit, whatever is requested.

        fit([.., no_op]) = fit([..])

    Args:
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
        script: the requests to make, a list of (event, occurrence, request).
    """
    scripts = {"requests": script}
    want, got = (
        fixture.fit([REQUESTS], scripts=scripts),
        fixture.fit([NO_OP, REQUESTS], scripts=scripts),
    )
    same_state(_without(got, NO_OP.name), want, 0.0, ("with a no-op", "without"))


@law(registry=LOOP_LAWS)
def hook_order_is_declared(fixture: Fixture, script: Script) -> None:
    """Hooks that do not commute say so: the order of the list never matters.

        fit(hooks) = fit(permutation of hooks)

    Up to five permutations are tried.

    Args:
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
        script: the requests to make, a list of (event, occurrence, request).
    """
    hooks, bare = fixture.loop.hooks, replace(fixture, loop=replace(fixture.loop, hooks=()))
    scripts = {"requests": script}
    want = bare.fit([REQUESTS, *hooks], scripts=scripts)
    for order in itertools.islice(itertools.permutations(hooks), 1, 6):
        got = bare.fit([REQUESTS, *order], scripts=scripts)
        got = got.replace(hooks={name: got.hooks[name] for name in want.hooks})
        names = ", ".join(hook.name for hook in order)
        same_state(got, want, 0.0, (f"listed as [{names}]", "as given"))


@law(registry=LOOP_LAWS, cost=3)
def loop_compiles(fixture: Fixture, script: Script) -> None:
    """A compiled step does what the step does in Python, whatever is requested.

        jit(train_step)(s, batch) = train_step(s, batch)

    Args:
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
        script: the requests to make, a list of (event, occurrence, request).
    """
    scripts = {"requests": script}
    got, want = (
        fixture.fit([REQUESTS], scripts=scripts),
        fixture.fit([REQUESTS], scripts=scripts, jit=False),
    )
    same_state(got, want, 1e-5, ("jit gives", "Python"))


@law(registry=LOOP_LAWS)
def loop_resumes(fixture: Fixture, script: Script) -> None:
    """A state that was written as bytes before every batch goes on as if nothing had happened.

        step(load(save(s)), batch) = step(s, batch)

    Args:
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
        script: the requests to make, a list of (event, occurrence, request).
    """
    fit = lambda between: fixture.fit([REQUESTS], scripts={"requests": script}, between=between)
    same_state(fit(through_bytes), fit(lambda state: state), 0.0, ("resumed", "uninterrupted"))


@law(registry=LOOP_LAWS, when=lambda claims: claims["order_free"], cost=3)
def order_of_examples_is_free(fixture: Fixture, script: Script) -> None:
    """The order of the examples in a batch means nothing, but for rounding.

        fit(batch_1, ..) = fit(batch_1[::-1], ..)

    Every array of a batch is turned round along its first axis.

    Args:
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
        script: the requests to make, a list of (event, occurrence, request).
    """
    turn = lambda batch: jax.tree.map(lambda x: jnp.flip(x, 0) if jnp.ndim(x) else x, batch)
    turned = replace(fixture, batches=[turn(batch) for batch in fixture.batches])
    fits = (x.fit([REQUESTS], scripts={"requests": script}) for x in (turned, fixture))
    # Without the hooks' states: what a hook saw of the batches may differ.
    got, want = (x.replace(hooks={}) for x in fits)
    same_state(got, want, 1e-4, ("turned round", "as given"))


@law(registry=LOOP_LAWS)
def skipped_batch_leaves_no_trace(fixture: Fixture, script: Script) -> None:
    """A batch that is skipped as it begins leaves parameters and optimizer alone.

        SKIP_BATCH at before_batch  =>  (params', opt_state', model_state') = (params, ..)

    Args:
        fixture: the fit to try it in: see `gradtx.testing.fixture`.
        script: the requests to make, a list of (event, occurrence, request).
    """
    program = fixture.program([REQUESTS])
    state = fixture.fit([REQUESTS], scripts={"requests": script})
    always = [("before_batch", 0, Request.SKIP_BATCH)]
    state = state.replace(requested=jnp.int32(0), hooks=state.hooks | {"requests": table(always)})
    after, _ = program.train(state, fixture.batches[0])
    same_state(_trained(after), _trained(state), 0.0, ("after it", "before"))
