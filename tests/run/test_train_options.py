"""What is done to images, as options say it."""

from dataclasses import fields
from pathlib import Path

import pytest

from gradtx.augment import Augmentation
from gradtx.config import check_ignored, parse, parse_range
from gradtx.run import TrainOptions


def options(*argv):
    made = parse(TrainOptions, argv, prog="train.py")
    check_ignored(argv, made.ignored, "train.py")
    return made


def test_the_default_is_crops_and_mirror_images():
    want = Augmentation("crop", scale=(0.35, 1.0), ratio=(3 / 4, 4 / 3), flip=True)
    assert options().augmentation == want == Augmentation()


def test_each_part_has_an_option():
    photos = options(
        *("--dataset", "folder", "--data-dir", "x", "--augment", "rand", "--crop-scale", "0.1:0.9"),
        *("--crop-ratio", "1/2:2", "--no-flip", "--erasing", "0.25", "--mix", "cutmix"),
    )
    want = Augmentation(
        "rand", scale=(0.1, 0.9), ratio=(0.5, 2.0), flip=False, erasing=0.25, mix="cutmix"
    )
    assert photos.augmentation == want
    assert options("--shift", "0.125").augmentation == Augmentation(shift=0.125)
    assert options("--sweep", "lr=1e-3:1e-1:3", "--shift", "0.1").augmentation.shift == 0.1
    assert options("--augment", "none").augmentation.kind == "none"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--crop-scale", "0:1"], r"--crop-scale must be LOW:HIGH, .*<= 1; got '0:1'"),
        (["--crop-scale", "0.5:1.5"], r"--crop-scale must .*; got '0\.5:1\.5'"),
        (["--crop-scale", "0.5"], r"--crop-scale must .*; got '0\.5'"),
        (["--crop-ratio", "2:1"], r"--crop-ratio must .*; got '2:1'"),
        (["--crop-ratio", "1/0:1"], r"--crop-ratio must .*; got '1/0:1'"),
        (["--crop-ratio", "nan:1"], r"--crop-ratio must .*; got 'nan:1'"),
        (["--erasing", "1.5"], r"`--erasing` must be in \[0, 1\); got 1\.5"),
        (["--crop-scale", "0.5:1"], r"`--dataset embedded` has no use .*; got --crop-scale\."),
        (
            ["--dataset=folder", "--data-dir=x", "--shift", "0.1"],
            r"`--dataset folder` has .*; got --shift\.",
        ),
        (["--augment", "none", "--mix", "mixup"], r"`--augment none` has no use .*; got --mix\."),
        (["--model", "lstm", "--erasing", "0.1"], r"`--model lstm` has no use .*; got --erasing"),
        (["--model", "lstm", "--cache", "host"], r"`--model lstm` has no use .*; got --cache"),
    ],
)
def test_what_has_no_meaning_or_no_effect_is_refused(argv, said):
    with pytest.raises(ValueError, match=rf"^train\.py: {said}"):
        options(*argv)


def test_ranges_are_decimals_and_fractions():
    assert parse_range("3/4:4/3", "x") == (0.75, 4 / 3)
    assert parse_range("1:1", "x", most=1) == (1, 1)
    for text in ("", ":", "1:2:3", "a:b", "-1:1", "inf:inf", "1e999:1e999"):
        with pytest.raises(ValueError, match=r"^x must be LOW:HIGH"):
            parse_range(text, "x")


def test_every_option_is_in_one_group_of_help():
    names = [name for _, names in TrainOptions.GROUPS.values() for name in names]
    assert sorted(names) == sorted(field.name for field in fields(TrainOptions))


def test_a_command_leaves_out_what_its_run_has_no_use_for():
    options = TrainOptions(find_lr=True, model="mlp", out=Path("x"))
    assert options.command() == "python train.py --find-lr --model mlp"
    assert options.command(find_lr=False, lr=0.003) == "python train.py --model mlp --lr 0.003"
    swept = TrainOptions(sweep="lr=1e-4:1e-1:8")
    assert swept.command() == "python train.py --sweep lr=1e-4:1e-1:8 --model mlp"
