"""A search is a pure function of its state: jitted, stopped, resumed and replayed to the bit."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx
from gradtx.checkpoint import restore, save
from gradtx.hooks import early_stopping, schedule_hyperparams, terminate_on_nan
from gradtx.loop import Hook, compiled_epoch
from gradtx.loop.phases import open_fit
from gradtx.tuning import (
    ancestry,
    begin_search,
    best_index,
    best_member,
    compiled_search,
    lineage_entries,
    log_uniform,
    population_based_training,
    run_search,
    search_round,
    successive_halving,
    sweep,
)
from tests.loop import small

MEMBERS, ROUNDS = 4, 5
SPACE = {"learning_rate": log_uniform(1e-3, 1.0), "weight_decay": [0, 0.01, 0.1]}
ORDERS = jnp.concatenate([small.orders(2)] * 3)[:ROUNDS]
VALID = small.DATA, small.VALID_ORDER
MADE = {
    "pbt": population_based_training(SPACE, members=MEMBERS, fraction=0.5),
    "halving": successive_halving(SPACE, members=MEMBERS, eta=2),
}
LOOP = small.make(terminate_on_nan())
thorough = partial(pytest.param, marks=pytest.mark.thorough)


def begun(search, loop=LOOP, **how):
    return begin_search(search, loop, small.start(loop, seed=3), rounds=ROUNDS, **how)


def searched(search, loop=LOOP, searching=None, **how):
    searching = begun(search, loop) if searching is None else searching
    return run_search(search, loop, searching, small.DATA, ORDERS, *VALID, **how)


@pytest.fixture(scope="module")
def runs():
    """Each search from its beginning to its end, and a copy of where it stood after each round."""

    def of(kind):
        if kind not in found:
            kept = []
            keep = lambda searching: kept.append(jax.tree.map(jnp.copy, searching))
            first = begun(MADE[kind])
            before = small.numbers(first)
            done = searched(MADE[kind], searching=first, each=keep)
            small.assert_same(first, before)  # what was given is still there, unchanged
            found[kind] = done, kept
        return found[kind]

    found = {}
    return of


KINDS = ["pbt", thorough("halving")]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_after_any_round_it_goes_on_to_the_same_end(runs, kind, tmp_path):
    done, kept = runs(kind)
    assert [int(searching.round) for searching in kept] == [1, 2, 3, 4, 5]
    small.assert_same(kept[-1], done)
    save(tmp_path, kept[1], step=2)
    found = restore(tmp_path, begun(MADE[kind], seed=7)).state
    small.assert_same(found, kept[1])
    small.assert_same(searched(MADE[kind], searching=found), done)


@pytest.mark.parametrize("kind", KINDS)
def test_the_lineage_says_what_was_done(runs, kind):
    """Each round is trained anew from the round before, by the parents and values it names."""
    _, kept = runs(kind)
    first = jax.vmap(partial(open_fit, LOOP))(
        jax.tree.map(lambda x: jnp.stack([x] * MEMBERS), small.start(LOOP, seed=3))
    )
    epoch = jax.jit(partial(compiled_epoch, LOOP))
    anew = 0
    for r in range(1, 3):
        row = kept[r].lineage.row(r)
        for i in range(MEMBERS):
            parent = int(row.parents[i])
            source, at = (kept[r - 1].states, parent) if parent >= 0 else (first, i)
            state = jax.tree.map(lambda x, at=at: x[at], source)
            values = {name: value[i] for name, value in row.values.items()}
            state = state.replace(opt_state=gradtx.set_hyperparams(state.opt_state, **values))
            state, _, told = epoch(state, small.DATA, ORDERS[r], *VALID)
            small.assert_same(state, jax.tree.map(lambda x, i=i: x[i], kept[r].states))
            assert row.scores[i] == told["valid_loss"]
            anew += parent != i
        assert int(row.steps) == 3 * (r + 1)
    assert anew


def test_the_line_of_a_member_is_a_schedule_that_gives_it_again(runs):
    done, _ = runs("pbt")
    best = best_index(MADE["pbt"], done)
    line = ancestry(done.lineage, best, rounds=ROUNDS)
    assert list(line.rounds) == [0, 1, 2, 3, 4] and line.members[-1] == best
    state, epoch = open_fit(LOOP, small.start(LOOP, seed=3)), jax.jit(partial(compiled_epoch, LOOP))
    for r in range(ROUNDS):
        values = {name: value[r] for name, value in line.values.items()}
        state = state.replace(opt_state=gradtx.set_hyperparams(state.opt_state, **values))
        state, _, row = epoch(state, small.DATA, ORDERS[r], *VALID)
        assert row["valid_loss"] == line.scores[r]
    small.assert_same(state, jax.tree.map(lambda x: x[best], done.states))
    closed = best_member(MADE["pbt"], LOOP, done)
    small.assert_same(closed.params, state.params)
    assert int(closed.level) == 0


@pytest.mark.thorough
def test_entries_of_a_file_are_the_rounds_that_are_done(runs):
    _, kept = runs("halving")
    told = lineage_entries(MADE["halving"], kept[1])
    assert {name: told[name] for name in ("kind", "members", "metric", "mode")} == {
        "kind": "halving", "members": 4, "metric": "valid_loss", "mode": "min",
    }  # fmt: skip
    assert [row["step"] for row in told["rounds"]] == [3, 6]
    assert told["rounds"][0]["parents"] == [-1] * 4 and told["rounds"][0]["ages"] == [1] * 4
    assert told["rounds"][1]["hyperparams"].keys() == SPACE.keys()
    np.testing.assert_array_equal(told["rounds"][1]["scores"], kept[1].lineage.scores[1])


@pytest.mark.thorough
def test_one_member_is_a_sweep_of_one_copy():
    one = population_based_training({"learning_rate": [0.05]}, members=1)
    done = run_search(
        one,
        LOOP,
        begin_search(one, LOOP, small.start(LOOP), rounds=2),
        small.DATA,
        ORDERS[:2],
        *VALID,
    )
    want = sweep(LOOP, small.start(LOOP), small.DATA, ORDERS[:2], *VALID, learning_rate=[0.05])
    got = best_member(one, LOOP, done)
    small.assert_same(got, jax.tree.map(lambda x: x[0], want.states))
    np.testing.assert_array_equal(done.lineage.scores[:, 0], want.rows["valid_loss"][0])


@pytest.mark.parametrize("kind", [thorough("pbt"), thorough("halving")])
def test_all_rounds_in_one_program_are_those_of_a_program_a_round(runs, kind):
    run = jax.jit(partial(compiled_search, MADE[kind], LOOP))
    small.assert_same(run(begun(MADE[kind]), small.DATA, ORDERS, *VALID), runs(kind)[0])


@pytest.mark.parametrize("kind", [thorough("pbt"), thorough("halving")])
def test_side_by_side_is_the_same_to_rounding(runs, kind):
    got = searched(MADE[kind], how="vmap")
    want = runs(kind)[0]
    np.testing.assert_array_equal(got.lineage.parents, want.lineage.parents)
    np.testing.assert_allclose(got.lineage.scores, want.lineage.scores, rtol=1e-3)


@pytest.mark.parametrize("how", [thorough("map"), thorough("vmap")])
def test_over_an_axis_of_a_mesh_the_members_are_the_same(runs, how):
    """Two on each of two devices; what the rule moves travels between them."""
    mesh = jax.make_mesh((2,), ("members",), devices=jax.devices()[:2])
    got, want = searched(MADE["pbt"], mesh=mesh, how=how), runs("pbt")[0]
    np.testing.assert_array_equal(got.lineage.parents, want.lineage.parents)
    leaves = [x for x in jax.tree.leaves(got.states) if x.ndim > 1]
    assert {len(x.sharding.device_set) for x in leaves} == {2}
    assert {x.addressable_shards[0].data.shape[0] for x in leaves} == {2}
    tolerance = {"map": 1e-6, "vmap": 1e-3}[how]
    np.testing.assert_allclose(got.lineage.scores, want.lineage.scores, rtol=tolerance)


@pytest.mark.thorough
def test_a_member_that_failed_takes_over_a_state_that_has_not():
    """Also its hooks' states, in which it had been given up, and the request to end."""
    search = population_based_training({"learning_rate": [0.01, 1e30]}, members=4, fraction=0.25)
    done = searched(search)
    told = jax.device_get(done.lineage)
    assert not told.counts[0].all() and told.counts[0].any()
    failed = ~told.counts[0]
    assert (told.parents[1][failed] != np.arange(4)[failed]).all()
    assert np.isin(told.parents[1], np.flatnonzero(told.counts[0])).all()
    assert told.counts[1][told.values["learning_rate"][1] < 1].all()
    assert not np.isnan(told.scores).any()
    best = best_index(search, done)
    assert told.counts[-1, best] and not LOOP.failed(done.states)[best]


@pytest.mark.thorough
def test_if_all_fail_each_goes_on_alone_and_there_is_no_best():
    search = population_based_training({"learning_rate": [1e30]}, members=4, fraction=0.25)
    done = searched(search)
    assert not done.lineage.counts.any()
    np.testing.assert_array_equal(done.lineage.parents, [[0, 1, 2, 3]] * ROUNDS)
    assert best_index(search, done) is None
    with pytest.raises(ValueError, match=r"best_member: a member must have a score; got none"):
        best_member(search, LOOP, done)


@pytest.mark.thorough
def test_members_may_have_seeds_of_their_own():
    """What is random in a place stays its own: its key is not taken over."""
    search = MADE["pbt"]
    states = jax.vmap(lambda seed: small.start(LOOP, seed=seed))(jnp.arange(MEMBERS))
    searching = begin_search(search, LOOP, states, rounds=ROUNDS)
    done = searched(search, searching=searching)
    np.testing.assert_array_equal(*(jax.random.key_data(s.key) for s in (states, done.states)))
    with pytest.raises(ValueError, match=r"one of each member, 4; got 3\. Pass one state, or 4"):
        begin_search(search, LOOP, jax.tree.map(lambda x: x[:3], states), rounds=2)


def raises(said, search, loop=LOOP, **how):
    with pytest.raises(ValueError, match=f"population_based_training: {said}"):
        begin_search(search, loop, small.start(loop), rounds=2, **how)


def test_what_the_optimizer_has_not_or_does_not_keep_live_is_refused():
    over = lambda **space: population_based_training(space, members=2)
    raises("`space`: `warmth` must name one hyperparameter of the state", over(warmth=[1.0]))
    raises(r"`space`: `b1` must be in \[0, 1\); got 2", over(b1=[0.5, 2.0]))
    raises(r"`space`: `b1` must be in \[0, 1\); got 1\.", over(b1=[0.5, 1 - 1e-9]))  # as float32
    moving = small.make(tx=gradtx.adamw(lambda step: 0.1))
    raises("`space`: `learning_rate` follows a schedule", over(learning_rate=[1.0]), moving)
    optax_s = small.make(tx=optax.inject_hyperparams(optax.sgd)(0.1))
    said = "`space`: .* of an optimizer of gradtx's, .* it needs no inject_hyperparams"
    raises(said, over(learning_rate=[1.0]), optax_s)
    hook = small.make(schedule_hyperparams(learning_rate=lambda step: 0.1))
    said = "`space` must have live hyperparameters; got 'learning_rate', which the hook"
    raises(said, over(learning_rate=[1.0]), hook)
    groups = gradtx.label_by(bias=gradtx.norm_or_bias, others="*")
    decay = gradtx.by_group(groups, bias=0.0, others=0.1)
    parted = small.make(tx=gradtx.adamw(0.1, weight_decay=decay))
    raises("`space`: `weight_decay` has the groups", over(weight_decay={"warm": [1.0]}), parted)
    two = small.make(tx=gradtx.chain(gradtx.sgd(0.1), gradtx.sgd(0.2)))
    names = "learning_rate", "scale_by_learning_rate[0].learning_rate"
    said = "`space` must name each hyperparameter once; got 'scale_by_learning_rate"
    raises(said, over(**{name: [0.1] for name in names}), two)
    missing = population_based_training(SPACE, metric="accuracy", mode="max")
    raises("`metric` must be in the epoch table", missing)


def test_what_makes_no_round_is_refused():
    search, searching = MADE["pbt"], begun(MADE["pbt"])
    run = partial(run_search, search, LOOP, searching, small.DATA)
    with pytest.raises(ValueError, match="run_search: `orders` must be indices of the"):
        run(ORDERS + 1000, *VALID)
    with pytest.raises(ValueError, match=r"run_search: `orders` must have one for each of the 5"):
        run(ORDERS[:2], *VALID)
    with pytest.raises(ValueError, match=r"the metric 'valid_loss' needs validation"):
        run(ORDERS)
    with pytest.raises(ValueError, match=r'`how` must be "map" or "vmap"; got \'scan\''):
        run(ORDERS, *VALID, how="scan")
    with pytest.raises(ValueError, match=r"run_search: `valid` and .*; got `valid` alone"):
        run(ORDERS, small.DATA)
    mesh = jax.make_mesh((3,), ("members",), devices=jax.devices()[:3])
    with pytest.raises(ValueError, match=r"`mesh` must have an axis 'members' that divides the 4"):
        run(ORDERS, *VALID, mesh=mesh)


def test_a_state_of_another_search_or_at_its_end_is_refused(runs):
    done, _ = runs("pbt")
    with pytest.raises(ValueError, match=r"must have rounds to come; got 5 done of 5, and 1 more"):
        search_round(MADE["pbt"], LOOP, done, small.DATA, ORDERS[0], *VALID)
    with pytest.raises(ValueError, match=r"must have rounds to come; got 5 done of 5, and 2 more"):
        compiled_search(MADE["pbt"], LOOP, done, small.DATA, ORDERS[:2], *VALID)
    other = population_based_training({"learning_rate": [0.1]}, members=MEMBERS)
    with pytest.raises(ValueError, match=r"must be one of this search, of 4 members and \['learn"):
        searched(other, searching=done)
    with pytest.raises(TypeError, match=r"training: `seed` must be an integer .*; got 'a'"):
        begun(MADE["pbt"], seed="a")
    key = jax.random.key(5)
    same = begun(MADE["pbt"], seed=key).key, begun(MADE["pbt"], seed=5).key
    np.testing.assert_array_equal(*map(jax.random.key_data, same))


@pytest.mark.thorough
def test_by_group_and_with_a_hook_of_ones_own():
    """The values of one group are searched over; a member's hooks count its own epochs."""
    groups = gradtx.label_by(bias=gradtx.norm_or_bias, others="*")
    tx = gradtx.adamw(0.05, weight_decay=gradtx.by_group(groups, bias=0.0, others=0.1))
    count = lambda n, context: (n + 1, context)
    counting = Hook("counting", {"after_epoch": count}, lambda state: jnp.int32(0))
    loop = small.make(counting, early_stopping(patience=9), tx=tx)
    space = {"weight_decay": {"others": log_uniform(1e-3, 1e-1)}}
    search = successive_halving(space, members=4, eta=2)
    done = searched(search, loop)
    live = gradtx.hyperparams(done.states.opt_state)["weight_decay"]
    np.testing.assert_array_equal(live["others"], done.lineage.values["weight_decay.others"][-1])
    np.testing.assert_array_equal(live["bias"], 0)
    np.testing.assert_array_equal(done.states.hooks["counting"], done.lineage.ages[-1])
    np.testing.assert_array_equal(done.states.epoch, done.lineage.ages[-1])


def test_a_round_changes_no_structure():
    """So a search may be the carry of a loop: shapes and dtypes are a fixed point."""
    for search in MADE.values():
        searching = begun(search)
        run = partial(search_round, search, LOOP)
        after = jax.eval_shape(run, searching, small.DATA, ORDERS[0], *VALID)
        form = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
        assert form(after) == form(jax.eval_shape(lambda x: x, searching))
