"""Bytes that a training step of ResNet-34 needs: gradtx and our models, plain Flax and Optax.

    python -m benchmarks.memory --batch-size 32 --size 128

The step is the forward and the backward pass and AdamW, jitted, with donated state. It is compiled
and not run; the bytes are XLA's own account: what comes in and goes out, and what lies between
(`temp`, activations for the most part).
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

import gradtx
from benchmarks import plain_flax_resnet
from benchmarks.record import finish, on_huge_pages, row
from gradtx import models

RATE, DECAY = 1e-4, 1e-2


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels")
    parser.add_argument("--tiny", action="store_true", help="a small model, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def step_of(model, tx):
    def loss_fn(params, batch_stats, images, labels):
        variables = {"params": params, "batch_stats": batch_stats}
        logits, new = model.apply(variables, images, train=True, mutable=["batch_stats"])
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, new["batch_stats"]

    def step(state, images, labels):
        params, batch_stats, opt_state = state
        grad = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, batch_stats), grads = grad(params, batch_stats, images, labels)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), batch_stats, opt_state), loss

    return jax.jit(step, donate_argnums=0)


def measure(model, tx, args):
    """XLA's account of the compiled step."""
    images = jax.ShapeDtypeStruct((args.batch_size, args.size, args.size, 3), jnp.float32)
    labels = jax.ShapeDtypeStruct((args.batch_size,), jnp.int32)
    init = partial(model.init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), images)
    params = variables["params"]
    state = (params, variables["batch_stats"], jax.eval_shape(tx.init, params))
    found = step_of(model, tx).lower(state, images, labels).compile().memory_analysis()
    names = ("argument", "output", "alias", "temp")
    sizes = {name: getattr(found, f"{name}_size_in_bytes") for name in names}
    peak = sizes["argument"] + sizes["output"] - sizes["alias"] + sizes["temp"]
    return sizes | {"peak": peak}


def main(argv=None):
    args = parse(argv)
    sizes = {"stage_sizes": (3, 4, 6, 3), "num_classes": 10}
    if args.tiny:
        sizes = {"stage_sizes": (1, 1), "num_classes": 10, "width": 8}
        args.batch_size, args.size = min(args.batch_size, 4), min(args.size, 32)
    plain, native = plain_flax_resnet.ResNet(**sizes), models.ResNet(**sizes, conv_form="native")
    contestants = {
        "plain Flax, Optax": (plain, optax),
        "our model, gradtx": (models.ResNet(**sizes), gradtx),
        "our model with native convolutions, gradtx": (native, gradtx),
    }
    found = {
        name: measure(model, library.adamw(RATE, weight_decay=DECAY), args)
        for name, (model, library) in contestants.items()
    }
    base, rows = found["plain Flax, Optax"], []
    for name in list(found)[1:]:
        note = f"{found[name]['peak'] / 1e6:,.0f} MB against {base['peak'] / 1e6:,.0f}"
        what = f"peak memory of a training step, {name}: bytes / plain Flax's and Optax's"
        rows.append(row(what, "", None, found[name]["peak"] / base["peak"], note=note))
    result = {
        "model": "tiny" if args.tiny else "resnet34",
        "batch_size": args.batch_size,
        "size": args.size,
        "rows": rows,
        "memory_bytes": found,
    }
    return finish("memory", argv, args.out, result)


if __name__ == "__main__":
    on_huge_pages()
    main()
