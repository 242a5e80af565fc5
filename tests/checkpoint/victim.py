"""Processes to be killed: a server that forks one for each directory that it reads.

It has imported everything when it forks, and has not started JAX, so that a process is training
within a second. It answers with the process's number, and with its exit status when it has ended.
"""

import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import gradtx
from gradtx.checkpoint import resume
from gradtx.hooks import early_stopping, ema_params
from gradtx.loop import Loop
from gradtx.observers import checkpoint, jsonl, table
from gradtx.recipes import fit_one_cycle

STEPS, EPOCHS = 12, 4


def apply(params, model_state, batch, *, key, training):
    x = batch["x"]
    if training:
        x = jnp.where(jax.random.bernoulli(key, 0.75, x.shape), x, 0.0)
        model_state = {"mean": 0.9 * model_state["mean"] + x.mean(0)}
    return jnp.tanh(x @ params["kernel"]) @ params["w"], model_state


def batches(epoch, start):
    """Those of an epoch, not too fast."""
    rng = np.random.default_rng(epoch)
    x = rng.normal(size=(STEPS, 8, 6)).astype(np.float32)
    for number in range(start, STEPS):
        time.sleep(0.01)
        yield {"x": x[number], "y": x[number].sum(-1)}


def train(directory):
    """A fit in `directory`, from where it stands; the last state's digest is written at its end."""
    jax.config.update("jax_compilation_cache_dir", str(directory.parent / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    params = {"kernel": jnp.ones((6, 64)) / 8, "w": jnp.linspace(-1, 1, 64)}
    loss = lambda pred, batch: jnp.square(pred - batch["y"])
    hooks = [ema_params(0.9), early_stopping(patience=9)]
    loop = Loop(apply, loss, gradtx.adamw(0.05), hooks=hooks)
    state = loop.init(params, {"mean": jnp.zeros(6)}, seed=3)
    log = jsonl(directory / "metrics.jsonl")
    saves = checkpoint(directory / "checkpoints", every=2, flush=[log])
    state, _ = fit_one_cycle(
        loop, state, batches, list(batches(99, 0)), epochs=EPOCHS, steps_per_epoch=STEPS,
        learning_rate=0.05, donate=True, observers=[table(), log, saves],
        resume=resume(directory / "checkpoints"),
    )  # fmt: skip
    leaves = jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))
    (directory / "final.bin").write_bytes(b"".join(np.asarray(x).tobytes() for x in leaves))


def serve():
    """Fork for each line of the standard input."""
    import orbax.checkpoint  # noqa: F401

    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        directory = Path(line.strip())
        pid = os.fork()
        if not pid:
            shown = os.open(directory / "out.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(shown, 1)
            os.dup2(shown, 2)
            train(directory)
            sys.stdout.flush()
            os._exit(0)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
