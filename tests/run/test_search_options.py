"""The options of a search by a population: their form, and what goes together."""

import pytest

from gradtx.run import RunOptions, TrainOptions
from gradtx.tuning import log_uniform
from gradtx.tuning.over import parse_over

OVER = ("lr=1e-4:1e-1", "weight_decay=0,0.01,0.1", "momentum=0.8")


def test_what_is_searched_over_is_a_space_of_the_optimizers_names():
    options = TrainOptions(search="pbt", over=OVER)
    assert options.space == {
        "lr": log_uniform(1e-4, 1e-1),
        "weight_decay": [0, 0.01, 0.1],
        "momentum": [0.8],
    }
    assert options.searched["lr"] == ("learning_rate", log_uniform(1e-4, 1e-1))
    assert options.searched["weight_decay"] == ("weight_decay", {"others": [0, 0.01, 0.1]})
    assert (options.model, options.schedule) == ("mlp", "constant")
    assert RunOptions(search="halving", over=OVER).searched["lr"][0] == "lr"


def test_the_training_that_a_search_was_for_has_what_it_found():
    options = TrainOptions(search="pbt", over=OVER, members=4, rounds=2, epochs=7, model="resnet18")
    training = options.training_with({"lr": 0.5, "b1": 0.25, "eps": 1.0})
    assert training == TrainOptions(
        lr=0.5, momentum=0.25, schedule="constant", epochs=7, model="resnet18"
    )
    assert "--lr 0.5 --momentum 0.25" in training.command()
    assert "--over lr=1e-4:1e-1 weight_decay=0,0.01,0.1 momentum=0.8" in options.command()


BAD = ["", "lr", "lr=", "lr=a", "=1:2", "lr=2:1", "lr=0:1", "lr=1:2:3", "lr=1,nan", "lr=1,,2"]
BAD += ["lr=nan:1", "lr=1:inf", "1e-4:1e-1", "lr=-2:-1", "lr rate=1,2"]


@pytest.mark.parametrize("text", BAD)
def test_a_bad_dimension_is_an_error_with_an_example(text):
    said = f"here must be NAME=LOW:HIGH, for example lr=1e-4:1e-1, with .* got '{text}'"
    with pytest.raises(ValueError, match=said):
        parse_over(text, "here")
    with pytest.raises(ValueError, match=r"train.py: --over must be NAME=LOW:HIGH"):
        TrainOptions(search="pbt", over=(text,))


@pytest.mark.parametrize(
    "said, how",
    [
        ("`--search` needs what to search over; got nothing", {"search": "pbt"}),
        ("`--over` needs `--search pbt` or", {"over": OVER}),
        ("`--members` needs `--search pbt` or", {"members": 3}),
        ("`--rounds` needs `--search pbt` or", {"rounds": 3, "sweep": "lr=1:2:3"}),
        ("`--members` must be in", {"search": "pbt", "over": OVER, "members": 0}),
        ("--over must have each name once; got 'lr'", {"search": "pbt", "over": ("lr=1", "lr=2")}),
        ("`--search` and `--find-lr`", {"search": "pbt", "over": OVER, "find_lr": True}),
        ("`--search` and `--sweep`", {"search": "pbt", "over": OVER, "sweep": "lr=1:2:3"}),
        ("`--search` does not go with `--model", {"search": "pbt", "over": OVER, "model": "lstm"}),
    ],
)
def test_what_does_not_go_together_is_refused(said, how):
    with pytest.raises(ValueError, match=f"train.py: {said}"):
        TrainOptions(**how)
