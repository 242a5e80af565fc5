"""Train ResNet-34: by default on the embedded Fashion-MNIST subset, in minutes on two CPU cores.

python train.py
python train.py --dataset imagenette [--archive imagenette2-160.tgz]
python train.py --model lstm
python train.py --resume RUN
python train.py --find-lr | --sweep lr=1e-4:1e-1:8
python train.py --search pbt --over lr=1e-4:1e-1 weight_decay=0,0.01,0.1
python train.py predict RUN IMAGE...
python train.py --mesh data=4,fsdp=2 [--coordinator HOST:PORT --processes N --process-id I]
"""

import contextlib
import os
import signal
import sys

# A CPU step takes two thirds of the time on huge pages, which glibc asks for only if told when
# a process starts: so this one starts again, but not under a debugger or what else may run it.
if __name__ == "__main__" and not (sys._getframe().f_back or sys.gettrace() or sys.getprofile()):
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"error: interrupted.\n"), os._exit(130)))
    wanted = sys.platform == "linux" and os.environ.get("GRADTX_HUGE_PAGES", "1") == "1"
    if wanted and "GLIBC_TUNABLES" not in os.environ and os.path.isfile(sys.argv[0]):
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        with contextlib.suppress(OSError):  # without them all goes on, only slower
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

import gradtx
from gradtx.config import invocation
from gradtx.data.text import unigram_perplexity
from gradtx.hooks import reset_model_state, rnn_regularizer
from gradtx.loop import Loop, TrainState, accuracy, cross_entropy, fit
from gradtx.models import IMAGE_MODELS, LSTMLanguageModel, sequence_loss
from gradtx.optimizers.presets import fastai_adam, fastai_rmsprop, fastai_sgd
from gradtx.parallel.processes import ending_together, leave, say
from gradtx.recipes import fit_flat_cos, fit_one_cycle
from gradtx.run import (
    Runner,
    TrainOptions,
    ending_at_once,
    first_state,
    image_metrics,
    image_model,
    image_source,
    launch,
    linen_model,
    load_images,
    load_text,
    predict,
    text_source,
    with_guards,
)


def train(options: TrainOptions, run: Runner) -> None:
    """One training, in the order in which it happens."""
    # Data and model: the words of a book, or images.
    batches: Any = {"batch_size": options.batch_size, "limit": options.limit_batches}
    if options.model == "lstm":
        text = load_text()
        source = text_source(text, length=options.length, **batches)
        module = LSTMLanguageModel(len(text.vocab))
        example = np.zeros((options.batch_size, options.length), np.int32)
        model = linen_model(module, example, inputs="input", precision=options.precision)
        loss = lambda pred, batch: sequence_loss(pred.logits, batch["label"])
        metrics, train_metrics = {}, {}
        hooks = [reset_model_state("carry"), rnn_regularizer(alpha=2.0, beta=1.0)]
        prepare = None
        remark = lambda row: (
            f"Validation perplexity {math.exp(row['valid_loss']):.1f};"
            f" words by frequency alone: {unigram_perplexity(text):.1f}."
        )
    else:
        dataset = load_images(options)
        batches |= {"seed": options.seed, "size": options.image_size, "mesh": run.mesh}
        augmentation, cache = options.augmentation, options.cache
        source = image_source(dataset, augmentation=augmentation, cache=cache, **batches)
        spec = source.spec
        model = image_model(options, spec, IMAGE_MODELS)
        loss, hooks, classes = cross_entropy, [], len(spec.classes)
        more = image_metrics(options.metrics, classes, f"{options.PROG}: --metrics")
        metrics = {"accuracy": accuracy} | more
        told = f"{options.PROG}: --train-metrics"
        train_metrics = image_metrics(options.train_metrics, classes, told)
        prepare = spec.prepare  # what is done to images, on the device
        remark = lambda row: f"Validation accuracy {row['accuracy']:.2%}."

    # Optimizer: any gradient transformation, such as
    # gradtx.lion(options.learning_rate, weight_decay=0.1); the recipe moves its rate.
    tx = make_optimizer(options)

    # Loop: hooks of your own go into the list, such as gradtx.hooks.ema_params(0.999).
    guarded = with_guards([*hooks], options, tx=tx)
    parts: Any = {"microbatches": options.microbatches, "remat": options.remat}
    parts |= {"metrics": metrics, "train_metrics": train_metrics, "prepare": prepare}
    loop = Loop(apply=model.apply, loss=loss, tx=tx, hooks=guarded, **parts)
    state = first_state(loop, model.init, seed=options.seed)

    # Fit, or search for a hyperparameter.
    if options.is_search:
        run.search(loop, state, source)
    else:
        history = run.fit(make_recipe(options, state, source.steps), loop, state, source)
        say(remark(history.rows[-1]))


def make_optimizer(options: TrainOptions) -> gradtx.GradientTransformation:
    """The chain that `--optimizer` names; its numbers are runtime hyperparameters."""
    rate, momentum = options.learning_rate, options.momentum
    groups = gradtx.label_by(norm_or_bias=gradtx.norm_or_bias, others="*")
    decay = gradtx.by_group(groups, norm_or_bias=0.0, others=options.weight_decay)
    match options.optimizer:
        case "adamw":
            tx = fastai_adam(rate, b1=momentum, weight_decay=decay)
        case "adam":
            tx = fastai_adam(rate, b1=momentum, weight_decay=None)
        case "sgd":
            tx = fastai_sgd(rate)
        case "momentum":
            tx = fastai_sgd(rate, momentum=momentum, weight_decay=decay)
        case "rmsprop":
            tx = fastai_rmsprop(rate, momentum=momentum, weight_decay=decay)
    if options.clip_norm is None:
        return tx
    return gradtx.chain(gradtx.clip_by_global_norm(options.clip_norm), tx)


def make_recipe(options: TrainOptions, state: TrainState, steps: int) -> Callable[..., Any]:
    """The fit that `--schedule` names: how the optimizer's numbers move in epochs of `steps`."""
    moves: Any = {"learning_rate": options.learning_rate, "steps_per_epoch": steps}
    cycled: Any = {} if gradtx.names_with_role(state.opt_state, "momentum") else {"momentum": None}
    return {
        "one_cycle": partial(fit_one_cycle, **moves, **cycled),
        "flat_cos": partial(fit_flat_cos, **moves),
        "constant": fit,
    }[options.schedule]


def main(argv: Sequence[str] | None = None, options: type[TrainOptions] = TrainOptions) -> int:
    """Run the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["predict"]:
        return predict(options, IMAGE_MODELS, argv[1:])
    about = (__doc__ or "").replace("python train.py", invocation(options.PROG))
    return launch(options, train, argv, description=about)


def end(argv: Sequence[str], options: type[TrainOptions], *, alone: bool = True) -> None:
    """Run the command line, and end the process, which is its own if it is `alone`."""
    again = "Start all again, with --resume and the run's directory."
    with ending_at_once(alone), ending_together(again):
        leave(main(argv, options))


if __name__ == "__main__":
    end(sys.argv[1:], TrainOptions, alone=sys._getframe().f_back is None)
