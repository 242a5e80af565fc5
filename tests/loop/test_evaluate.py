"""A state on a set of batches: the figures of a fit's validation, and of NumPy; nothing moves."""

import sys
from dataclasses import replace
from functools import partial
from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx
from gradtx import metrics
from gradtx.loop import (
    Hook,
    Loop,
    Observer,
    Request,
    Rows,
    cross_entropy,
    evaluate,
    fit,
    from_linen,
)
from gradtx.parallel import make_mesh, place_batches, shard_state
from tests.loop import small

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(20, 3)) * [1, 5, 0.1] + [3, -2, 0]).astype(np.float32)
Y = RNG.integers(0, 3, 20).astype(np.int32)
WEIGHT = (np.arange(20) % 4).astype(np.float32)  # some count nothing
SIZES = (8, 8, 4)  # uneven
TRACED: list[bool] = []


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        TRACED.append(train)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.5, name="norm")(x)
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(3, name="head")(x)


def prepare(batch, key):
    noise = 0 if key is None else jax.random.normal(key, batch["image"].shape)
    return {**batch, "image": 2 * batch["image"] + noise}


def enlarged():
    """A validation changes its state and the parameters, and does not put them back."""

    def before_validate(count, context):
        params = jax.tree.map(lambda x: 1.5 * x, context.params)
        return count + 1, context.replace(params=params)

    def after_loss(count, context):
        return count + 1, context

    on = {"before_validate": before_validate, "after_loss": after_loss}
    return Hook("enlarged", on, lambda state: jnp.zeros((), jnp.int32))


def hit(pred, batch):
    return (pred.argmax(-1) == batch["label"]).astype(jnp.float32)


def make(**parts):
    found = {"hit": hit, "recall": metrics.recall(classes=3, average=None)}
    tx = gradtx.chain(gradtx.sgd(0.05, momentum=0.9), gradtx.ema_params(0.8))
    given = {"metrics": found, "eval_params": gradtx.averaged_params, "prepare": prepare} | parts
    return Loop(from_linen(Net()), cross_entropy, tx, **given)


def start(loop):
    variables = dict(Net().init(jax.random.key(0), X, train=False))
    return loop.init(variables.pop("params"), variables)


def batches():
    whole = {"image": X, "label": Y, "weight": WEIGHT}
    cuts = pairwise(np.cumsum((0, *SIZES)))
    return [{k: v[a:b] for k, v in whole.items()} for a, b in cuts]


def figures(row):
    return {name: row[name] for name in ("valid_loss", "hit", "recall")}


def same(got, want):
    assert [*got] == [*want]
    for name, value in want.items():
        assert type(got[name]) is type(value)
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def trained():
    loop = make()
    state, history = fit(loop, start(loop), batches(), batches(), epochs=2)
    return loop, state, history.rows[-1]


def test_it_is_what_the_fit_found_and_the_state_stays_and_nothing_is_compiled(trained):
    loop, state, row = trained
    before, traced = small.numbers(state), len(TRACED)
    for again in (loop, replace(loop)):
        got = evaluate(again, state, batches())
        same(got, figures(row))
        assert type(got["hit"]) is float and all(type(x) is float for x in got["recall"])
    assert len(TRACED) == traced
    jax.tree.map(np.testing.assert_array_equal, small.numbers(state), before)


def test_it_is_the_weighted_mean_of_numpy(trained):
    loop, state, _ = trained
    params, stats = loop.evaluated_params(state), state.model_state["batch_stats"]["norm"]
    assert not np.allclose(params["head"]["kernel"], state.params["head"]["kernel"], rtol=1e-3)
    norm, head = ({k: np.float64(v) for k, v in params[n].items()} for n in ("norm", "head"))
    mean, var = (np.float64(stats[name]) for name in ("mean", "var"))
    z = (2 * np.float64(X) - mean) / np.sqrt(var + 1e-5)
    pred = (z * norm["scale"] + norm["bias"]) @ head["kernel"] + head["bias"]
    right = pred.argmax(1) == Y
    each = np.log(np.exp(pred).sum(1)) - pred[np.arange(20), Y]
    of_class = lambda c: np.average(right[Y == c], weights=WEIGHT[Y == c])
    want = {
        "valid_loss": float(np.average(each, weights=WEIGHT)),
        "hit": float(np.average(right, weights=WEIGHT)),
        "recall": [float(of_class(c)) for c in range(3)],
    }
    same(evaluate(loop, state, batches()), want)


def test_batches_come_from_anywhere(trained):
    loop, state, row = trained
    cuts = np.split(np.arange(20), np.cumsum(SIZES)[:-1])
    data = {"image": X, "label": Y}
    rows = [Rows(data, jnp.array(i), {"weight": WEIGHT[i]}) for i in cuts]
    closed = []

    def generated():
        try:
            yield from batches()
        finally:
            closed.append(True)

    for given in (batches, generated, generated(), tuple(batches()), rows):
        same(evaluate(loop, state, given), figures(row))
    assert len(closed) == 2


def test_hooks_have_their_validation_and_what_they_keep_is_dropped():
    loop = small.make(enlarged(), tx=gradtx.sgd(0.05))
    seen = []
    look = lambda report: seen.append(evaluate(loop, report.state, small.valid))
    watch = Observer({"before_validate": look, "after_batch": look})
    state, history = small.run(loop, epochs=1, observers=[watch])
    want = {name: history.rows[-1][name] for name in ("valid_loss", "error")}
    # The epoch's last batch; where the validation has begun, and the parameters are changed
    # already; the first two batches are worth something else.
    for got in seen[2:]:
        same(got, want)
    assert len(seen) == 4 and seen[0]["valid_loss"] != pytest.approx(want["valid_loss"])
    # The parameters that the hook left are those of that validation; one more changes them again.
    same(evaluate(replace(loop, hooks=[]), state, small.valid), want)
    assert evaluate(loop, state, small.valid)["valid_loss"] != pytest.approx(want["valid_loss"])
    assert int(state.hooks["enlarged"]) == 6  # 3 losses, before_validate, 2 losses


def test_a_request_of_the_fit_is_over_and_one_of_the_validation_counts():
    def asking(event, request):
        hook = Hook("ask", {event: lambda state, context: (state, context.request(request))})
        return small.make(hook)

    loop = asking("after_epoch", Request.END_FIT)
    state, history = small.run(loop)
    assert len(history.rows) == 1
    got = evaluate(loop, state, small.valid)
    assert got == pytest.approx({k: history.rows[0][k] for k in ("valid_loss", "error")})
    ended = asking("before_validate", Request.END_PHASE)
    assert np.isnan([*evaluate(ended, small.start(ended), small.valid).values()]).all()


def test_other_metrics_than_those_of_the_training(trained):
    loop, state, row = trained
    other = replace(loop, metrics={"wrong": lambda pred, batch: 1 - hit(pred, batch)})
    got = evaluate(other, state, batches())
    assert got == pytest.approx({"valid_loss": row["valid_loss"], "wrong": 1 - row["hit"]})
    same(evaluate(loop, state, batches()), figures(row))
    weightless = [{**batch, "weight": 0 * batch["weight"]} for batch in batches()]
    assert np.isnan(evaluate(other, state, weightless)["wrong"])


def test_on_a_mesh(trained):
    loop, state, _ = trained
    mesh = make_mesh("data=4,fsdp=2")
    even = batches()[:2]
    sharded = shard_state(state, mesh)
    same(evaluate(loop, sharded, place_batches(even, mesh)), evaluate(loop, state, even))
    traced = len(TRACED)
    evaluate(replace(loop), sharded, place_batches(even, mesh))
    assert len(TRACED) == traced


class Endless(list):
    def __len__(self):
        return sys.maxsize


@pytest.mark.parametrize(
    "given, error, message",
    [
        ([], ValueError, "evaluate: `batches` must give batches; got none. Check"),
        (lambda: iter(()), ValueError, "evaluate: `batches` must give batches; got none"),
        (lambda: None, TypeError, "evaluate: `batches` must return batches; got None"),
        (lambda x: [], TypeError, r"evaluate: `batches` must "),
        (3, TypeError, "evaluate: `batches` must be .*; got .*3"),
        ({"image": X}, TypeError, "evaluate: `batches` must be .*; got"),
        (Endless(), ValueError, "evaluate: `batches` must end.*got Endless"),
        ([{"image": ["a"], "label": Y}], TypeError, "evaluate: every leaf of a batch of `batches`"),
        (
            [{"image": X, "label": Y, "weight": -WEIGHT}],
            ValueError,
            'evaluate: batch."weight". of `batches` must be finite and not negative; got -1',
        ),
    ],
)
def test_what_it_can_not_evaluate(trained, given, error, message):
    loop, state, _ = trained
    with pytest.raises(error, match=message):
        evaluate(loop, state, given)


def test_it_names_what_is_wrong_with_the_loop_or_the_state(trained):
    loop, state, _ = trained
    call = partial(evaluate, batches=batches())
    with pytest.raises(TypeError, match="evaluate: `loop` must be a Loop; got"):
        call(state, state)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="evaluate: `state` must be a TrainState; got"):
        call(loop, state.params)
    with pytest.raises(ValueError, match="Hook 'enlarged': the training state must hold"):
        call(replace(loop, hooks=[enlarged()]), state)
