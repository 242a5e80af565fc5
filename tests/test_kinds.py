"""Arguments of the wrong kind: refused by name, by one table, in every public factory."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import data, hooks, optimizers, run, schedules, testing
from gradtx.checkpoint import clean, entries, newest_intact, restore, resume, save
from gradtx.hooks import __all__ as HOOKS
from gradtx.kinds import Bound, Count, Dtype, Fraction, Kind, Natural, NonZero, checked, kind_of
from gradtx.loop import (
    Hook,
    Loop,
    Observer,
    compiled_fit,
    cross_entropy,
    epoch_order,
    evaluate,
    fit,
    from_linen,
    train_step,
)
from gradtx.optimizers import presets

HUGE = 10**400
ADMITTED = [
    (bool, True, np.True_),
    (int, 3, np.int64(-3), jnp.array(3)),
    (float, 3, 0.5, np.float32(0.5), jnp.bfloat16(0.5), jnp.array(2)),
    (Count, 1, 5.0, 2**31 - 1),
    (Natural, 0, np.int32(7)),
    (Fraction, 0, 1.0),
    (Bound, 0, float("inf")),
    (NonZero, -1.0),
    (Dtype, jnp.bfloat16, "float32", np.float16, np.dtype("float64")),
    (str, "", "a"),
    (str | Path, "a", Path("a")),
    (int | None, None, 1),
    (Sequence[float], [], (1, 2.0), np.ones(3)),
    (Mapping[str, float], {}, {"a": 1}),
    (tuple[float, float], (1, 2), [0.5, 0.5]),
    (tuple[int, ...], (), (1, 2, 3)),
    (Callable[[Any], Any], lambda x: x, print, max),
    (Callable[..., Any], lambda: 0),
    (Sequence[Count], [1, 2]),
    (Annotated[Any, Kind("even", lambda x: x % 2 == 0)], 2),
]
REFUSED = [
    (bool, 1, "no", None, jnp.array(True)),
    (int, 2.5, True, "3", HUGE, 1j, np.ones(1), None),
    (float, float("nan"), float("inf"), -HUGE, True, "1", 1j, None, [], np.ones(2), jnp.array(1j)),
    (Natural, np, ...),
    (Count, 0, -1, 1.5, 2**31, HUGE, float("nan")),
    (Natural, -1, True),
    (Fraction, -0.1, 1.1, float("nan")),
    (Bound, -1, float("nan")),
    (NonZero, 0, 0.0),
    (Dtype, "no", int, jnp.ones(2), {"w": "no"}, object()),
    (str, b"a", 3, None),
    (str | Path, 3, b"a"),
    (int | None, "no", 0.5),
    (Sequence[float], "ab", {}, [1, "2"], [float("nan")], 3),
    (Mapping[str, float], [], {"a": "b"}, {1: 1}),
    (tuple[float, float], (1,), (1, 2, 3), (1, None), 1),
    (Callable[[Any], Any], lambda: 0, lambda x, y: 0, "f", 3),
    (Callable[..., Any], 3),
    (Sequence[Count], [1, 0]),
    (Annotated[Any, Kind("even", lambda x: x % 2 == 0)], 3),
]


@pytest.mark.parametrize("case", ADMITTED, ids=lambda case: str(case[0])[:60])
def test_what_an_annotation_admits(case):
    kind, values = kind_of(case[0]), case[1:]
    assert kind is not None and all(kind.admits(x) for x in values)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: str(case[0])[:60])
def test_what_an_annotation_refuses(case):
    kind, values = kind_of(case[0]), case[1:]
    assert kind is not None and not any(kind.admits(x) for x in values)


def test_what_is_not_in_the_table_is_not_looked_at():
    for annotation in (Any, jax.Array, Any | None, "a name", Sequence[Any] | Any):
        assert kind_of(annotation) is None


@checked
def example(size: Count, *more: int, rate: float = 0.1, **named: bool) -> Any:
    return size, more, rate, named


def test_the_message_names_function_argument_kind_value_and_default():
    assert example(1, 2, rate=0.5, on=True) == (1, (2,), 0.5, {"on": True})
    whole = "example: `size` must be a whole number; got str ('no')."
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: example("no"), TypeError, whole),
        (lambda: example(0), ValueError, "`size` must be at least 1, whole and below 2^31; got 0."),
        (lambda: example(1, 2, "x"), TypeError, "example: `more[1]` must be an integer; got str"),
        (lambda: example(1, on=1), TypeError, "example: `on` must be True or False; got int (1)."),
        (lambda: example(1, rate=HUGE), ValueError, "must be a finite number; got "),
        (lambda: example(1, rate=[]), TypeError, "got list ([]). The default is 0.1."),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=re.escape(message)):
            call()
    with pytest.raises(TypeError, match="missing"):
        example()


def test_traced_numbers_pass():
    got = jax.jit(lambda x: example(1, rate=x)[2] + schedules.linear(x, 0.0, 3)(0))(0.5)
    assert float(got) == 1.0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: gradtx.adamw(0.1, mask={"w": "no"}), "adamw: `mask` must be a tree of bools"),
        (lambda: gradtx.rmsprop(0.1, initial_scale=float("nan")), "rmsprop: `initial_scale` must"),
        (lambda: gradtx.adam(HUGE), "adam: `learning_rate` must be a number, a sch"),
        (lambda: gradtx.adam(jax.random.key(0)), "adam: `learning_rate` must be a number, a sch"),
        (lambda: gradtx.sgd(0.1, nesterov="no"), "sgd: `nesterov` must be True or False; got str"),
        (
            lambda: gradtx.sgd(0.1, dampening=-HUGE),
            "sgd: `dampening` must be True or False or a nu",
        ),
        (lambda: gradtx.sgd(0.1, dampening=float("inf")), r"sgd: `dampening` must be in \[0, 1\)"),
        (lambda: gradtx.sgd(0.1, dampening=np.ones(3)), "sgd: `dampening` must be a scalar"),
        (lambda: gradtx.lookahead(3, 5), "lookahead: `fast_optimizer` must be a gradient transf"),
        (lambda: gradtx.radam(0.1, threshold=2.5), "radam: `threshold` must be a finite number of"),
        (lambda: schedules.exponential_decay(1.0, 3, -1.0), "`decay_rate` must not be negative"),
    ],
)
def test_examples_of_what_was_accepted_or_died_raw(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_whole_numbers_too_large_for_jax_are_the_floats_that_they_stand_for():
    @checked
    def shown(a: float, b: NonZero | None = None, c: int = 0, d: Bound = 0) -> Any:
        return a, b, c, d

    large = 10**12
    got = shown(large, large, large, d=-large + 2 * large)
    assert [type(x) for x in got] == [float, float, int, float] and got == (large,) * 4
    assert [type(x) for x in shown(3, 3, 3, 3)] == [int] * 4
    tx = gradtx.scale(large)
    assert tx.update(jnp.ones(1), tx.init(jnp.ones(1)))[0][0] == np.float32(1e12)
    for hook in (hooks.clip_gradients(large), hooks.early_stopping(min_delta=large)):
        use(hook)
    with pytest.raises(ValueError, match="clip_gradients: `max_norm` must"):
        hooks.clip_gradients(HUGE)


def test_what_optax_computes_is_computed():
    gradtx.scale(-1.0)
    gradtx.linear_schedule(1.0, 0.0, 2.5)
    gradtx.polynomial_schedule(1, 0, 2, 10.0)
    gradtx.sgd(jnp.float32(0.1), momentum=np.float64(0.9))
    gradtx.clip_by_global_norm(float("inf"))


# The whole: every parameter of every public factory, given each of these.
BAD = {
    "None": None, "text": "no", "nan": float("nan"), "inf": float("inf"), "-inf": -float("inf"),
    "-1": -1, "large": 10**12, "huge": HUGE, "list": [], "dict": {}, "object": object(),
    "lambda": lambda: 3, "True": True, "complex": 1j, "array": np.ones((2, 3)),
    "vector": jnp.full(3, 0.1), "bytes": b"x",
    "labels": {"w": "no"}, "list of nan": [float("nan")], "key": jax.random.key(0),
}  # fmt: skip
PARAMS = {"w": jnp.full((2, 3), 0.5), "b": jnp.full(3, -0.5)}
GRADS = {"w": jnp.full((2, 3), 0.25), "b": jnp.full(3, 0.5)}
DATA = {"image": jnp.ones((2, 3)), "label": jnp.zeros(2, jnp.int32)}
ORDER = jnp.zeros((1, 2), jnp.int32)
SGD = gradtx.sgd(0.1)
MASK = {"w": True, "b": False}
RATE = {"learning_rate": 0.1}
GIVEN: dict[str, Any] = {  # to parameters that have no default, or need more than a number
    **dict.fromkeys(("inner", "optimizer", "fast_optimizer", "base_optimizer", "tx_or_mask"), SGD),
    **dict.fromkeys(("mask", "freeze_mask"), MASK),
    **dict.fromkeys(("steps", "transition_steps", "decay_steps", "sync_period", "classes"), 3),
    **dict.fromkeys(("warmup_steps", "cycles", "max_consecutive_errors", "examples"), 2),
    "transforms": {"w": SGD, "b": SGD},
    "param_labels": {"w": "w", "b": "b"},
    "boundaries": [2],
    "schedules": [schedules.constant(0.1)] * 2,
    "values": [0.1, 0.2],
    "curves": [schedules.curves.linear(0, 1)] * 2,
    "fractions": [0.5, 0.5],
    "interpolate_type": "linear",
    "step_size_fn": lambda step: 0.1,
    "cosine_kwargs": [dict(init_value=0.0, peak_value=1.0, warmup_steps=1, decay_steps=3)],
    "warmup": 2,
    "schedule": schedules.constant(0.1),
}
OTHERS = """
    accumulate adaptive_grad_clip add_decayed_weights apply_if_finite clip clip_by_block_norm
    clip_by_block_rms clip_by_global_norm ema freeze_gradients kahan_summation lookahead masked
    master_weights momentum_of_steps partition scale scale_by_adam scale_by_belief scale_by_lion
    scale_by_radam scale_by_rms scale_by_rss scale_by_schedule scale_by_trust_ratio schedule_free
    selective_transform skip_if_not_finite stochastic_rounding trace
""".split()
# Functions of states; and of schedules by name, of which there must be one.
NO_FACTORIES = ("averaged_params", "best_params", "schedule_hyperparams")
FACTORIES = {
    **{name: getattr(gradtx, name) for name in OTHERS},
    **{name: getattr(optimizers, name) for name in optimizers.__all__},
    **{name: getattr(presets, name) for name in presets.__all__},
    **{f"schedules.{name}": getattr(schedules, name) for name in schedules.__all__},
    **{f"hooks.{name}": getattr(gradtx.hooks, name) for name in HOOKS},
}
FACTORIES = {
    name: made
    for name, made in FACTORIES.items()
    if inspect.isfunction(made)
    and made.__module__.startswith("gradtx.")
    and name.split(".")[-1] not in NO_FACTORIES
}
FEW = ["lookahead", "masked", "accumulate", "schedules.one_cycle", "hooks.early_stopping"]
OURS = r"[A-Za-z_][\w.]*(\[[^\]]*\])?: .*(got|needs|at least one)"


def model(params: Any, model_state: Any, batch: Any, *, key: Any, training: bool) -> Any:
    return batch["image"] @ params["w"].T, model_state


def started(hooks: Sequence[Hook]) -> tuple[Loop, Any]:
    loop = Loop(model, cross_entropy, gradtx.adam(0.1), hooks=hooks)
    return loop, loop.init(PARAMS, {"carry": jnp.ones(2)})


def use(made: Any) -> None:
    """What an accepted argument must stand: updates and values that are numbers."""
    if isinstance(made, Hook):
        if made.name not in ("rnn_regularizer", "mixup"):  # which are for models of other forms
            loop, state = started([made])
            whole = lambda state: compiled_fit(loop, state, DATA, ORDER[None], DATA, ORDER)
            jax.eval_shape(whole, state)
        return
    if hasattr(made, "update"):
        state, params = made.init(PARAMS), PARAMS
        for _ in range(2):
            updates, state = made.update(GRADS, state, params)
            params = gradtx.apply_updates(params, updates)
        found = jax.tree.leaves(params)
    else:
        parts = made if isinstance(made, tuple) else [made]
        found = [part(jnp.asarray(step)) for part in parts for step in (0, 1, 7)]
    assert all(bool(jnp.isfinite(x).all()) for x in found), "not finite"


def named(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(factory).parameters.values()
    return [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def arguments(factory: Callable[..., Any]) -> dict[str, Any]:
    """Those that it needs, good ones."""
    base = {p.name: GIVEN.get(p.name, 0.1) for p in named(factory) if p.default is p.empty}
    return base | {p.name: MASK for p in named(factory) if p.name == "frozen"}


def faults(factory: Callable[..., Any]) -> list[str]:
    """The tries that died of something raw, or were accepted and failed later."""
    base = arguments(factory)
    use(factory(**base))
    found = []
    for parameter in named(factory):
        for label, value in BAD.items():
            try:
                use(factory(**{**base, parameter.name: value}))
            except (TypeError, ValueError) as error:
                if not re.match(OURS, str(error), re.DOTALL):
                    found.append(f"{parameter.name}={label}: {type(error).__name__} {error}")
            except Exception as error:
                found.append(f"{parameter.name}={label}: {type(error).__name__} {error}")
    return found


@pytest.mark.parametrize("name", FEW)
def test_a_factory_refuses_what_it_can_not_use(name):
    assert not faults(FACTORIES[name])


@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in FACTORIES if name not in FEW])
def test_every_factory_refuses_what_it_can_not_use(name):
    assert not faults(FACTORIES[name])


NAMED: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (gradtx.trace, {"decay": float("inf")}),
    (gradtx.trace, {"decay": np.ones(2)}),
    (gradtx.adamw, {"b1": 1.5}),
    (presets.fastai_adam, {"b1": 1.5}),
    (presets.fastai_lamb, {"b2": 1.5}),
    (presets.fastai_rmsprop, {"momentum": lambda: 0.1}),
    (presets.fastai_qhadam, {"nu1": "no"}),
    (presets.torch_sgd, {"momentum": -float("inf")}),
    (optimizers.signum, {"beta": float("inf")}),
    (optimizers.schedule_free_adamw, {"b2": 1.5}),
    (optimizers.schedule_free_sgd, {"warmup_steps": 10**12}),
    (optimizers.muon, {"adam_b1": 1.5}),
    (gradtx.apply_if_finite, {"inner": gradtx.adam, "max_consecutive_errors": 1}),
    (gradtx.masked, {"inner": None, "mask": MASK}),
    (gradtx.selective_transform, {"optimizer": "no", "freeze_mask": MASK}),
    (gradtx.selective_transform, {"freeze_mask": None, "optimizer": SGD}),
    (gradtx.freeze, {"tx_or_mask": 3, "frozen": MASK}),
    (gradtx.clip_by_value, {"max_delta": "no"}),
    (gradtx.multi_transform, {"transforms": {"w": 3}, "param_labels": "w"}),
    (schedules.constant_schedule, {"value": "no"}),
    (hooks.loss_scaling, {"growth": 1.0}),
    (hooks.reduce_on_plateau, {"min_learning_rate": -1.0}),
]


@pytest.mark.parametrize("case", NAMED, ids=lambda case: f"{case[0].__name__}-{min(case[1])}")
def test_a_refusal_names_the_function_and_the_argument_that_were_written(case):
    factory, given = case
    first = next(iter(given))
    rest = {} if "learning_rate" not in inspect.signature(factory).parameters else RATE
    with pytest.raises((TypeError, ValueError), match=rf"^{factory.__name__}: `{first}") as caught:
        factory(**{**rest, **given})
    defaults = {p.name: p.default for p in inspect.signature(factory).parameters.values()}
    if "The default is" in str(caught.value):
        assert f"The default is {defaults[first]!r}." in str(caught.value)


def test_renaming_goes_by_the_object_and_leaves_all_else():
    @checked
    def part(b1: int = 1, b2: int = 2) -> int:
        if b2 == 7:
            raise ValueError("not of this form")
        return b1

    @checked
    def middle(first: Any, second: Any, made: Any = 1) -> int:
        return part(first, second + made)

    @checked
    def whole(adam_first: Any, other: Any, made: Any = 1) -> int:
        return middle(adam_first, other, made)

    with pytest.raises(TypeError, match=r"^whole: `adam_first` must be an integer; got str"):
        whole("x", 1)
    with pytest.raises(TypeError, match=r"^part: `b2` must be an integer; got float"):
        whole(1, 1, 1e300)  # of which the refused one is made
    with pytest.raises(ValueError, match=r"^not of this form$"):
        whole(1, 6)
    with pytest.raises(ValueError, match=r"^adamw: `b1\['no'\]` must be in"):
        gradtx.adamw(0.1, b1=gradtx.by_group(lambda p: p, no=-1.0))


@pytest.mark.parametrize("label", ["text", "-1"])
def test_every_factory_names_what_was_written(label):
    found = []
    for name, factory in FACTORIES.items():
        own, base = name.split(".")[-1], arguments(factory)
        for argument in [p.name for p in named(factory)]:
            try:
                factory(**{**base, argument: BAD[label]})
            except (TypeError, ValueError) as error:
                if not re.match(rf"{own}: .*(\b{argument}\b|`mode`)", str(error)):
                    found.append(f"{name}({argument}=): {error}")
    assert not found


KEY = jax.random.key(0)
LOOP, STATE = started([])
SCHEDULE, IMAGES = schedules.constant(0.1), data.embedded()
TAKEN: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    # what is called, with which arguments, and those that are of a wrong kind below
    "Loop": (Loop, {"apply": model, "loss": cross_entropy, "tx": SGD}, "hooks examples"),
    "init": (LOOP.init, {"params": PARAMS}, "seed model_state"),
    "with_hooks": (LOOP.with_hooks, {"state": STATE, "hooks": []}, "state hooks"),
    "without_hooks": (LOOP.without_hooks, {"state": STATE}, "state"),
    "faults": (LOOP.faults, {"state": STATE}, "state"),
    "failed": (LOOP.failed, {"state": STATE}, "state"),
    "failure": (LOOP.failure, {"state": STATE}, "state"),
    "Hook": (Hook, {"name": "h", "on": {}}, "name per_epoch watches run_before run_after"),
    "Observer": (Observer, {"on": {}}, "on flush reads watches"),
    "fit": (fit, {"loop": LOOP, "state": STATE, "train": [DATA], "epochs": 1}, "donate resume"),
    "evaluate": (
        evaluate,
        {"loop": LOOP, "state": STATE, "batches": [DATA]},
        "loop state batches",
    ),
    "compiled_fit": (compiled_fit, {"loop": LOOP, "state": STATE, "train": DATA}, "loop state"),
    "train_step": (train_step, {"loop": LOOP, "state": STATE, "batch": DATA}, "loop state"),
    "from_linen": (from_linen, {"module": lambda x, train: x}, "inputs rngs"),
    "save": (save, {"directory": "/dev/null", "state": {}, "step": 1}, "directory rows score step"),
    "restore": (
        restore,
        {"directory": "/dev/null", "like": {}},
        "directory must_match params_only",
    ),
    "resume": (resume, {"directory": "c"}, "directory must_match say"),
    "entries": (entries, {"directory": "c"}, "directory"),
    "clean": (clean, {"directory": "c"}, "directory"),
    "newest_intact": (newest_intact, {"directory": "c"}, "directory"),
    "check_hook": (testing.check_hook, {"hook": Hook("h", {})}, "hook loop batches promotion"),
    "check_loop": (testing.check_loop, {}, "loop batches profile seed promotion"),
    "check_schedule": (testing.check_schedule, {"schedule": SCHEDULE}, "schedule steps profile"),
    "examine": (testing.examine, {"tx_or_factory": SGD}, "profile seed promotion templates only"),
    "law_tests": (testing.law_tests, {"tx_or_factory": SGD}, "profile seed promotion templates"),
    "limit_valid": (data.limit_valid, {"dataset": IMAGES, "count": 3}, "dataset count"),
    "bytes_of": (data.bytes_of, {"dataset": IMAGES, "split": "train"}, "dataset split"),
    "steps_per_epoch": (data.steps_per_epoch, {"dataset": IMAGES, "batch_size": 2}, "dataset"),
    "on_canvas": (data.on_canvas, {"dataset": IMAGES, "size": 8}, "dataset size scale side say"),
    "valid_order": (data.valid_order, {"dataset": IMAGES, "batch_size": 2}, "dataset batch_size"),
    "read_rows": (data.read_rows, {"path": "x", "spec": None}, "path spec"),
    "text_source": (run.text_source, {"text": None, "batch_size": 2, "length": 3}, "text"),
    "image_source": (
        run.image_source,
        {"dataset": IMAGES, "batch_size": 2, "size": 8},
        "dataset batch_size size seed cache limit augmentation",
    ),
    "predictor": (run.predictor, {"apply": model, "params": {}, "model_state": {}}, "prepare"),
    "with_guards": (run.with_guards, {"hooks": [], "options": run.RunOptions()}, "options"),
    "mesh_for": (run.mesh_for, {"options": run.RunOptions()}, "options"),
    "cross_entropy": (cross_entropy, {"pred": jnp.ones((2, 3)), "batch": DATA}, "label_smoothing"),
}
TAKEN["compiled_fit"][1]["orders"] = ORDER[None]


@pytest.mark.parametrize("name", TAKEN)
def test_the_loop_refuses_arguments_of_the_wrong_kind_by_name(name):
    call, base, names = TAKEN[name]
    for argument in names.split():
        for value in (object(), 1j, jax.random.key(0)):
            if (argument, type(value)) == ("seed", type(jax.random.key(0))):
                continue
            if argument == "model_state" and type(value) is not object:
                continue
            with pytest.raises((TypeError, ValueError), match=r"^[\w.]+( 'h')?: .*; got "):
                call(**{**base, argument: value})


def test_the_loop_refuses_what_it_took_for_something_else():
    module = lambda x, train: x
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: LOOP.init(PARAMS, seed=HUGE), ValueError, "Loop.init: `seed` must be"),
        (lambda: LOOP.init(PARAMS, {"carry": "no"}), TypeError, "Loop.init: `model_state` must be"),
        (lambda: fit(LOOP, STATE, [DATA], epochs=True), TypeError, "fit: `epochs` must be a whole"),
        (lambda: fit(LOOP, STATE, KEY, epochs=1), TypeError, "fit: `train` must be batches"),
        (lambda: fit(LOOP, STATE, [DATA], KEY, epochs=1), TypeError, "fit: `valid` must be batch"),
        (
            lambda: fit(LOOP, STATE, lambda epoch, start: None, epochs=1),
            TypeError,
            "fit: `train` must return batches; got None",
        ),
        (
            lambda: fit(LOOP, STATE, [DATA], lambda: 3, epochs=1),
            TypeError,
            "fit: `valid` must return batches; got 3",
        ),
        (lambda: from_linen(module, rngs="dropout"), TypeError, "from_linen: `rngs` must be a seq"),
        (
            lambda: epoch_order(jax.random.key(0), examples=4, batch_size=0),
            ValueError,
            "epoch_order: `batch_size` must be at least 1",
        ),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=re.escape(message)):
            call()
