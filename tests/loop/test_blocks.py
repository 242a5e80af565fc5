"""Blocks of steps on the host: nothing is seen of them but the time."""

import sys

import jax
import numpy as np
import pytest

import gradtx
from gradtx.hooks import clip_gradients, skip_nonfinite
from gradtx.loop import (
    Loop,
    Observer,
    Request,
    Rows,
    accuracy,
    cross_entropy,
    execution,
    fit,
    from_linen,
    never,
    take,
)
from gradtx.loop import pace as paces
from gradtx.models import MLP, resnet_tiny
from gradtx.models.convolution import convolution
from gradtx.observers import checkpoint, jsonl
from gradtx.observers.checkpoint import Interrupted
from tests.loop import small
from tests.loop.script_loop import LOOP, first_state, with_script

PLAIN = small.make()
MANY = [batch for _ in range(4) for batch in small.batches(1)(0, 0)]  # 12 batches


@pytest.fixture(params=[1, 2, 5])
def steps(request):
    return request.param


@pytest.fixture
def slow(monkeypatch):
    """A group of steps has four, whatever the time."""
    monkeypatch.setattr(paces.Pace, "look", lambda self, done: setattr(self, "steps", 4))


def test_a_fit_in_blocks_is_the_same_by_the_bit(steps, slow):
    state, history = fit(PLAIN, small.start(PLAIN), MANY, MANY[:5], epochs=2, steps_per_execution=1)
    how = {"steps_per_execution": steps}
    in_blocks, its = fit(PLAIN, small.start(PLAIN), MANY, MANY[:5], epochs=2, **how)
    small.assert_same(in_blocks, state)
    jax.tree.map(np.testing.assert_array_equal, its.steps, history.steps)
    assert [row | {"time": 0} for row in its.rows] == [row | {"time": 0} for row in history.rows]


@pytest.mark.parametrize("event", ["before_batch", "after_loss", "after_step", "after_batch"])
def test_a_request_acts_at_its_very_step(event, steps, slow):
    """What the host has started by then changes nothing, and no observer hears of it."""
    told = []
    observer = Observer(
        {"after_batch": lambda r: told.append((r.epoch, r.batch, r.step))}, reads=never
    )
    begun = with_script(first_state(), (event, 5, Request.END_EPOCH, 1.0))
    how = {"epochs": 2, "observers": [observer], "steps_per_execution": steps}
    state, history = fit(LOOP, begun, MANY, MANY[:1], **how)
    one, _ = fit(LOOP, begun, MANY, MANY[:1], epochs=2, steps_per_execution=1)
    small.assert_same(state, one)
    first = len(told) - 12
    assert told[:first] == [(0, i, i) for i in range(1, first + 1)] and first in (5, 6)
    assert told[first:] == [(1, i, first + i) for i in range(1, 13)]
    assert len(history.steps["loss"]) == len(told)


def test_batches_of_several_forms_and_a_short_last_block(steps, slow):
    short = jax.tree.map(lambda x: x[:5], MANY[0])
    batches = [*MANY[:3], short, short, MANY[4], short]
    a, _ = fit(PLAIN, small.start(PLAIN), batches, epochs=1, steps_per_execution=1)
    b, _ = fit(PLAIN, small.start(PLAIN), batches, epochs=1, steps_per_execution=steps)
    small.assert_same(a, b)


def test_rows_of_a_data_set_travel_alone(steps, slow):
    rows = [Rows(small.DATA, row) for row in np.tile(small.orders(1)[0], (3, 1))]
    a, _ = fit(PLAIN, small.start(PLAIN), [row.gather() for row in rows], epochs=1)
    b, _ = fit(PLAIN, small.start(PLAIN), rows, epochs=1, steps_per_execution=steps)
    small.assert_same(a.params, b.params)


def test_an_observer_sees_the_state_where_it_reads_it_and_only_there(steps, slow):
    seen, logs = {}, []

    def look(report):
        logs.append(float(report.log["loss"]))
        if report.step % 3 == 0:
            seen[report.step] = int(report.state.step)
        elif steps > 1 or report.step % 3 == 1:
            with pytest.raises(RuntimeError, match=r"Report.state: an observer must say at which"):
                report.state.step  # noqa: B018

    reads = Observer({"after_batch": look}, reads=lambda step: step % 3 == 0)
    _, history = fit(
        PLAIN, small.start(PLAIN), MANY, epochs=1, observers=[reads], steps_per_execution=steps
    )
    assert seen == {3: 3, 6: 6, 9: 9, 12: 12}
    np.testing.assert_array_equal(np.float32(logs), history.steps["loss"])


def test_files_do_not_depend_on_blocks(tmp_path, slow):
    def files(name, steps):
        log = jsonl(tmp_path / name / "metrics.jsonl")
        saves = checkpoint(tmp_path / name / "saved", every=5, flush=[log])
        fit(
            PLAIN,
            small.start(PLAIN),
            MANY,
            MANY[:2],
            epochs=1,
            observers=[log, saves],
            steps_per_execution=steps,
        )
        found = sorted(path.name for path in (tmp_path / name / "saved").iterdir())
        return (tmp_path / name / "metrics.jsonl").read_bytes(), found

    assert files("a", 1) == files("b", 5)


def test_a_stop_is_heeded_one_step_after_what_is_under_way(tmp_path, steps, slow):
    """And what is saved is the state of that step."""
    asked = []

    def stop(step):
        asked.append(step)
        return step >= 7

    saves = checkpoint(tmp_path, stop=stop)
    how = {"observers": [saves], "steps_per_execution": steps}
    with pytest.raises(Interrupted) as stopped:
        fit(PLAIN, small.start(PLAIN), MANY, epochs=1, **how)
    assert stopped.value.step == 7 and asked == list(range(1, 8))


def test_the_host_reads_at_most_five_times_in_100_steps(monkeypatch, steps):
    """Two of them as the fit begins, and one for the row of the table."""
    reads = []
    for module in (execution, sys.modules["gradtx.loop.fit"]):
        monkeypatch.setattr(module, "read", lambda x, read=module.read: reads.append(1) or read(x))
    monkeypatch.setattr(paces, "SECONDS", 1e9)
    loop = small.make(skip_nonfinite(), clip_gradients(1.0))
    batches = [MANY[i % 3] for i in range(100)]
    fit(loop, small.start(loop), batches[:3], epochs=1, steps_per_execution=steps)
    reads.clear()
    fit(loop, small.start(loop), batches, epochs=1, steps_per_execution=steps)
    assert len(reads) <= 5


def test_what_steps_per_execution_may_be():
    for wrong in (0, -1, 1.5, True, "fast", None):
        with pytest.raises(ValueError, match=r'fit: `steps_per_execution` must be "auto" or'):
            fit(PLAIN, small.start(PLAIN), MANY, epochs=1, steps_per_execution=wrong)


def with_convolution(params, model_state, batch, *, key, training):
    image, kernel = batch["x"][:, None, :, None], params["w1"].T[:, None, :, None]
    features = jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME")
    return features.sum((1, 2, 3)), model_state


def test_plain_convolutions_run_outside_a_loop_on_a_cpu_or_with_a_warning():
    """XLA runs them many times slower inside."""
    loop = small.make(apply=with_convolution, tx=gradtx.sgd(0.1))
    fit(loop, small.start(loop), MANY, epochs=1)  # warnings are errors in tests
    slow = r"gradtx.loop: XLA runs plain convolutions .* steps_per_execution=1"
    with pytest.warns(UserWarning, match=slow):
        fit(loop, small.start(loop), MANY, epochs=1, steps_per_execution=2)
    with pytest.warns(UserWarning, match=slow):
        small.run_compiled(loop)


@pytest.mark.thorough  # compiled as users do: unoptimized, XLA rounds differently in a loop
@pytest.mark.parametrize(
    "model", [MLP(num_classes=10), resnet_tiny(num_classes=10)], ids=["mlp", "resnet"]
)
def test_our_models_train_in_blocks_to_the_same_bits(model, slow):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((24, 12, 12, 3)).astype(np.float32)
    data = {"image": image, "label": rng.integers(0, 10, 24).astype(np.int32)}
    batches = [take(data, rng.permutation(24)[:8]) for _ in range(10)]
    variables = model.init(jax.random.key(0), image[:8], train=True)
    hooks = [skip_nonfinite(), clip_gradients(1.0)]
    tx = gradtx.adamw(0.01)
    loop = Loop(from_linen(model), cross_entropy, tx, {"accuracy": accuracy}, hooks)
    start = loop.init(variables.pop("params"), variables)
    ends = [
        fit(loop, start, batches, batches[:4], epochs=2, steps_per_execution=steps)
        for steps in (1, 3)
    ]
    small.assert_same(ends[0][0].params, ends[1][0].params)
    small.assert_same(ends[0][0].opt_state, ends[1][0].opt_state)
    jax.tree.map(np.testing.assert_array_equal, ends[0][1].steps, ends[1][1].steps)


def test_convolutions_of_our_form_need_no_warning():
    """Those of other platforms, which a program for a CPU leaves out, don't count either."""

    def apply(params, model_state, batch, *, key, training):
        image, kernel = batch["x"][:, None, :, None], params["w1"][None, None]
        features = convolution(image.repeat(kernel.shape[2], axis=-1), kernel, stride=2)
        return features.sum((1, 2, 3)), model_state

    small.run_compiled(small.make(apply=apply, tx=gradtx.sgd(0.1)))  # warnings are errors in tests
