"""The training step of each model, made on a CPU for accelerators."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax import export

import gradtx
from gradtx.hooks import reset_model_state
from gradtx.loop import Loop, accuracy, cross_entropy, from_linen
from gradtx.loop.step import eval_step, train_step
from gradtx.models import MLP, resnet18, resnet_tiny
from gradtx.models.rnn import LSTMLanguageModel, sequence_loss

IMAGES = {"image": jnp.zeros((4, 12, 12, 3)), "label": jnp.zeros(4, jnp.int32)}
WORDS = {"input": jnp.zeros((4, 5), jnp.int32), "label": jnp.zeros((4, 5), jnp.int32)}
TX = gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adamw(1e-3))


def images(model):
    metrics = {"accuracy": accuracy}
    loop = Loop(apply=from_linen(model), loss=cross_entropy, tx=TX, metrics=metrics)
    return loop, model, IMAGES, IMAGES["image"]


def words(model):
    loop = Loop(
        apply=from_linen(model, inputs="input"),
        loss=lambda pred, batch: sequence_loss(pred.logits, batch["label"]),
        tx=TX,
        hooks=[reset_model_state("carry")],
    )
    return loop, model, WORDS, WORDS["input"]


MODELS = {
    "mlp": lambda: images(MLP(num_classes=3)),
    "resnet": lambda: images(resnet_tiny(num_classes=3, stage_sizes=(1, 1))),
    "resnet concat bf16": lambda: images(
        resnet_tiny(num_classes=3, head="concat", dtype=jnp.bfloat16)
    ),
    "lstm": lambda: words(LSTMLanguageModel(11, embedding_size=8, hidden_size=8)),
}
LARGE = {"resnet18": lambda: images(resnet18(num_classes=3))}


@pytest.mark.parametrize("name", [*MODELS, pytest.param("resnet18", marks=pytest.mark.thorough)])
def test_steps_are_lowered_for_accelerators(name):
    loop, model, batch, x = (MODELS | LARGE)[name]()
    variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), x)
    params = variables.pop("params")
    state = jax.eval_shape(loop.init, params, variables)
    for step, scatters in ((train_step, 1), (eval_step, 0)):
        run = jax.jit(partial(step, loop))
        for platform in ("cuda", "tpu"):
            text = export.export(run, platforms=[platform])(state, batch).mlir_module()
            if x is IMAGES["image"]:  # the loss takes one logit of each image
                assert text.count('"stablehlo.scatter"') == scatters
                assert "select_and_scatter" not in text
