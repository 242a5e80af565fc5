"""The sections of `benchmarks.accelerator`, each run in a process of its own.

    python -m benchmarks.sections NAME OUT.json [--tiny]

A section finds figures by name; each is written when it is found, so that one that is stopped has
lost only what was to come.
"""

import argparse
import hashlib
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gradtx
from benchmarks import plain_flax_resnet
from benchmarks.record import environment
from gradtx import models
from gradtx.loop import Loop, compiled_fit, fit, from_linen, train_step
from gradtx.loop.losses import cross_entropy
from gradtx.observers.kernels import read_kernels
from gradtx.observers.peaks import flops_of, peak_of, utilisation

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
RATE = 1e-3
_compiled_fit = jax.jit(compiled_fit, static_argnums=0)


class Found:
    """What a section finds, written at each figure."""

    def __init__(self, path, tiny):
        self.path, self.tiny, self.figures, self.more = path, tiny, {}, {}

    def add(self, **more):
        self.more |= more
        self.write()

    def __setitem__(self, what, figure):
        self.figures[what] = float(figure)
        self.write()

    def write(self):
        self.path.write_text(json.dumps({"figures": self.figures} | self.more, default=str))


def seconds(run, *, repeats=5):
    """The median time of a call, after one that compiles."""
    jax.block_until_ready(run())
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def device(found):
    found.add(environment=environment())
    n = 256 if found.tiny else 8192
    x = jnp.ones((n, n), jnp.bfloat16)
    took = seconds(jax.jit(lambda: x @ x))
    found["TFLOP/s of a bfloat16 product"] = 2 * n**3 / took / 1e12


class Problem:
    """A ResNet, a batch, and the ways to train on it; the batch stays on the device."""

    def __init__(self, tiny, *, batch=128, size=128):
        self.batch, size = (8, 32) if tiny else (batch, size)
        self.steps = 3 if tiny else 100
        sizes = {"stage_sizes": (1, 1), "width": 8} if tiny else {"stage_sizes": (3, 4, 6, 3)}
        sizes |= {"num_classes": 10, "dtype": jnp.bfloat16}
        self.model, self.plain = models.ResNet(**sizes), plain_flax_resnet.ResNet(**sizes)
        rng = np.random.default_rng(0)
        image = rng.standard_normal((self.batch, size, size, 3), np.float32)
        label = rng.integers(0, 10, self.batch, dtype=np.int32)
        self.data = jax.device_put({"image": image, "label": label})
        init = jax.jit(partial(self.model.init, train=False))
        variables = dict(init(jax.random.key(0), self.data["image"][:1]))
        self.params, self.stats = variables.pop("params"), variables
        self.loop = Loop(
            apply=from_linen(self.model), loss=cross_entropy, tx=gradtx.adamw(RATE), metrics={}
        )
        self.state = self.loop.init(self.params, self.stats)

    def fit(self):
        batches = [self.data] * self.steps
        return fit(self.loop, self.state, batches, epochs=1)[0].params

    def compiled(self):
        order = np.tile(np.arange(self.batch, dtype=np.int32), (1, self.steps, 1))
        return _compiled_fit(self.loop, self.state, self.data, order)[0].params

    def flax_step(self):
        tx = optax.adamw(RATE)

        def loss_fn(params, stats):
            variables = {"params": params, **stats}
            logits, new = self.plain.apply(
                variables, self.data["image"], train=True, mutable=["batch_stats"]
            )
            entropy = optax.losses.softmax_cross_entropy_with_integer_labels
            return entropy(logits.astype(jnp.float32), self.data["label"]).mean(), dict(new)

        @partial(jax.jit, donate_argnums=0)
        def step(state):
            params, stats, opt = state
            (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, stats)
            updates, opt = tx.update(grads, opt, params)
            return (optax.apply_updates(params, updates), stats, opt), loss

        params, stats = jax.tree.map(jnp.copy, (self.params, self.stats))
        return step, (params, stats, tx.init(params))

    def flax(self):
        step, state = self.flax_step()

        def run():
            nonlocal state
            for _ in range(self.steps):
                state, loss = step(state)
            return loss

        return run


def step(found, **sizes):
    """A training step: plain Flax and Optax, ours through `fit`, ours in one compiled fit."""
    problem = Problem(found.tiny, **sizes)
    step, state = problem.flax_step()
    work = flops_of(step, state)
    each = {}
    for name, run in {
        "plain Flax, a call a step": problem.flax(),
        "through fit": problem.fit,
        "compiled epoch": problem.compiled,
    }.items():
        each[name] = seconds(run) / problem.steps
        found[f"ms a step, {name}"] = 1e3 * each[name]
        found[f"images/s, {name}"] = problem.batch / each[name]
        if (share := utilisation(work, each[name])) is not None:
            found[f"share of the peak, {name}"] = share
    ratio = each["through fit"] / each["plain Flax, a call a step"]
    found["time through fit / plain Flax, a call a step"] = ratio


def step_large(found):
    step(found, batch=512)


def loop(found):
    """A small MLP: what a step costs that has next to nothing to do."""
    from benchmarks import loop as bench

    steps = 8 if found.tiny else 500
    args = bench.parse(["--steps", str(steps)])
    for name, run in bench.contestants(args, []).items():
        found[f"{name}, ms a step"] = 1e3 * seconds(run, repeats=3) / steps


def optimizer(found):
    """The update alone, and 50 of them in one scan, over ResNet-34's leaves."""
    from benchmarks import optimizer as bench

    params, grads = bench.make_arrays(bench.parse(["--tiny"] if found.tiny else []))
    many = 3 if found.tiny else 50
    size = sum(x.size for x in jax.tree.leaves(params))
    if peak := peak_of(jax.devices()[0].device_kind):
        found["adamw at the memory's limit, ms"] = 1e3 * 7 * 4 * size / peak.bandwidth
    adamw = {"gradtx": gradtx.adamw(RATE), "Optax": optax.adamw(RATE)}
    clipped = {
        name: library.chain(library.clip_by_global_norm(1.0), adamw[key])
        for name, key, library in (("gradtx", "gradtx", gradtx), ("Optax", "Optax", optax))
    }
    took = {}
    for family, made in (("adamw", adamw), ("clip_adamw", clipped)):
        for name, tx in made.items():
            label = family if name == "gradtx" else f"Optax's {family}"
            took[label] = 1e3 * in_scan(tx, params, grads[0], many)
            found[f"{label} in a scan, ms"] = took[label]
            took[label] = 1e3 * alone(tx, params, grads[0], many)
            found[f"{label} alone, ms"] = took[label]
        found[f"{family} alone / Optax"] = took[family] / took[f"Optax's {family}"]
    flat = 1e3 * alone(gradtx.flatten(adamw["gradtx"]), params, grads[0], many)
    found["flatten(adamw) alone, ms"] = flat


def one_update(tx):
    def update(carry, grads):
        updates, state = tx.update(grads, carry[1], carry[0])
        return optax.apply_updates(carry[0], updates), state

    return update


def in_scan(tx, params, grads, many):
    update = one_update(tx)

    @jax.jit
    def run(carry, grads):
        return jax.lax.scan(lambda c, _: (update(c, grads), None), carry, length=many)[0]

    return seconds(lambda: run((params, tx.init(params)), grads)) / many


def alone(tx, params, grads, many):
    update = jax.jit(one_update(tx), donate_argnums=0)
    carry = jax.tree.map(jnp.copy, params), tx.init(params)

    def run():
        nonlocal carry
        for _ in range(many):
            carry = update(carry, grads)
        return carry

    return seconds(run) / many


def fed(found):
    """Two epochs of train.py on a folder of photos: the input pipeline and the step together."""
    from benchmarks.input import write_photos

    photos, batch, size = (60, 4, 32) if found.tiny else (8000, 128, 128)
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "photos", Path(name) / "run"
        write_photos(folder, photos, 0)
        command = [sys.executable, str(TRAIN), "--dataset=folder", f"--data-dir={folder}"]
        command += [f"--batch-size={batch}", f"--size={size}", f"--out={out}"]
        command += ["--model=resnet_tiny"] if found.tiny else ["--precision=bf16"]
        subprocess.run([*command, "--epochs=3"], check=True)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        times = [json.loads(x) for x in (out / "metrics.times.jsonl").read_text().splitlines()]
    rows = [line for line in [*lines, *times] if "time" in line]
    for i, line in enumerate(rows):
        found[f"epoch {i}, s (with its validation)"] = line["time"]
    found["images/s of the last epoch"] = 0.9 * photos / rows[-1]["time"]


def digest(tree):
    leaves = jax.tree.leaves(jax.device_get(tree))
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in leaves)).hexdigest()


def deterministic(found):
    """A host fit and a compiled fit: their digests, and the time of a step."""
    problem = Problem(found.tiny)
    found["ms a step"] = 1e3 * seconds(problem.compiled, repeats=3) / problem.steps
    host, compiled = digest(problem.fit()), digest(problem.compiled())
    found.add(digest=host)
    found["host loop and compiled fit equal"] = host == compiled


def population(found):
    """Eight learning rates; parameters must agree by the bit, but for vmap."""
    from benchmarks import population as bench

    args = bench.parse(["--repeats", "2"])
    if found.tiny:
        args.steps, args.batch_size, args.size = 3, 4, 12
    result = bench.compare(bench.MODELS["mlp"], args)
    for name in ("map", "vmap"):
        found[f"time of host fits / {name}"] = result["ratios"][f"host_fits/{name}"]


def compile(found):
    """From tracing to the end of the first step, with an empty cache."""
    problem = Problem(found.tiny)
    step, state = problem.flax_step()
    start = time.perf_counter()
    fit_step = lambda state, batch: train_step(problem.loop, state, batch)
    lowered = jax.jit(fit_step).lower(problem.state, problem.data)
    found["tracing and lowering of the step, s"] = time.perf_counter() - start
    start = time.perf_counter()
    lowered.compile()
    found["first compile of the step, s"] = time.perf_counter() - start
    start = time.perf_counter()
    step.lower(state).compile()
    found["then that of plain Flax, s"] = time.perf_counter() - start


def profile(found):
    """How long the device is busy with what. A trace turns command buffers off on a GPU."""
    problem = Problem(found.tiny)
    jax.block_until_ready(problem.compiled())
    with tempfile.TemporaryDirectory() as name:
        jax.profiler.start_trace(name)
        jax.block_until_ready(problem.compiled())
        jax.profiler.stop_trace()
        kernels = read_kernels(Path(name))
    found["kernels a step"] = sum(kernels.calls.values()) / problem.steps
    found["busy, ms a step"] = kernels.busy / 1e6 / problem.steps
    for group, spent in kernels.groups.items():
        found[f"{group}, ms a step"] = spent / 1e6 / problem.steps
    longest = sorted(kernels.nanoseconds.items(), key=lambda pair: -pair[1])[:40]
    found.add(longest={name: spent / 1e6 / problem.steps for name, spent in longest})


def torch(found):
    """PyTorch, if it is installed: the same step in several ways, and its fused optimizer."""
    if importlib.util.find_spec("torch") is None:
        found.add(note="PyTorch is not installed")
        return
    from benchmarks import torch_section

    torch_section.measure(found)


RUN = {
    "device": device,
    "step": step,
    "step_large": step_large,
    "loop": loop,
    "optimizer": optimizer,
    "fed": fed,
    "plain": deterministic,
    "deterministic": deterministic,
    "deterministic_again": deterministic,
    "population": population,
    "compile": compile,
    "profile": profile,
    "torch": torch,
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=RUN)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args(argv)
    RUN[args.name](Found(args.out, args.tiny))


if __name__ == "__main__":
    main()
