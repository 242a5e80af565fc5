"""The model that the options name, as a loop and `predict` use it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gradtx.data.image_spec import ImageSpec
from gradtx.kinds import checked
from gradtx.loop import from_linen
from gradtx.precision import Policy, with_policy
from gradtx.run.train_options import IGNORED, TrainOptions


class Model(NamedTuple):
    """A model as two functions.

    Args:
        apply: (params, model_state, batch, key=, training=) -> (pred, model_state), as `Loop`
            takes it.
        init: a typed key -> (params, model_state).
    """

    apply: Callable[..., tuple[Any, Any]]
    init: Callable[[jax.Array], tuple[Any, Any]]


@checked
def linen_model(
    module: Any, example: np.ndarray, *, inputs: str = "image", precision: str = "f32"
) -> Model:
    """A Flax linen module as a `Model`.

    Args:
        module: the module, called as `module(x, train=...)`; it has no `dtype` of its own, or that
            of `precision`.
        example: inputs of the shape and dtype that the module initializes its parameters for.
        inputs: the entry of a batch that is the module's input.
        precision: "f32", "bf16" or "f16", of the model's arithmetic; parameters are float32.
    """

    def init(key: jax.Array) -> tuple[Any, Any]:
        variables = dict(module.init(key, example, train=False))
        return variables.pop("params"), variables

    apply = with_policy(from_linen(module, inputs=inputs), Policy.of(precision))
    return Model(apply, init)


@checked
def image_model(
    options: TrainOptions, spec: ImageSpec, models: Mapping[str, Callable[..., Any]] | None = None
) -> Model:
    """The network that `--model` names, for images as `spec` says.

    Args:
        options: the options of the run; `model`, `head` and `precision` decide.
        spec: the classes, the size and the channels of the images.
        models: for each name of `--model`, a function or class that makes the Flax module from
            `num_classes`, `dtype` and, unless the model ignores it, `head`; None:
            `gradtx.models.IMAGE_MODELS`.
    """
    module = image_module(options, spec, models)
    return linen_model(module, spec.example, precision=options.precision)


def image_module(
    options: TrainOptions, spec: ImageSpec, models: Mapping[str, Callable[..., Any]] | None = None
) -> Any:
    """The Flax module of `image_model`.

    Args:
        options: as there.
        spec: as there.
        models: as there.
    """
    if models is None:
        from gradtx.models import IMAGE_MODELS

        models = IMAGE_MODELS
    name = str(options.model)
    head = {} if "head" in IGNORED[name] else {"head": options.head}
    dtype = Policy.of(options.precision).compute
    return models[name](num_classes=len(spec.classes), dtype=dtype, **head)
