"""PyTorch's side of `benchmarks.accelerator`: the step of ResNet-34, and AdamW alone."""

import statistics
import time

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.plain_torch_resnet import ResNet

WAYS = {  # name -> (bfloat16 autocast, mode of torch.compile)
    "eager TF32": (False, None),
    "eager bf16": (True, None),
    "compiled bf16": (True, "default"),
    "reduce-overhead bf16": (True, "reduce-overhead"),
}


def seconds(run, device, *, steps, repeats=3):
    """The median time of a step, after some that compile."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(3):
        run()
    wait()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(steps):
            run()
        wait()
        found.append((time.perf_counter() - start) / steps)
    return statistics.median(found)


def make_step(device, batch, size, sizes, *, half, mode):
    """A function that trains one step."""
    torch.manual_seed(0)
    model = ResNet(channels=3, num_classes=10, **sizes)
    model = model.to(device, memory_format=torch.channels_last)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((batch, 3, size, size), np.float32)).to(device)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(rng.integers(0, 10, batch)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def loss_of(x, y):
        with torch.autocast(device, torch.bfloat16, enabled=half):
            return F.cross_entropy(model(x), y)

    loss_of = loss_of if mode is None else torch.compile(loss_of, mode=mode)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(x, y).backward()
        optimizer.step()

    return step, model, optimizer


def measure(found):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = {"stage_sizes": (1, 1), "width": 8} if found.tiny else {"stage_sizes": (3, 4, 6, 3)}
    batch, size, steps = (4, 32, 2) if found.tiny else (128, 128, 20)
    ways = {name: way for name, way in WAYS.items() if device == "cuda" or way[1] is None}
    for name, (half, mode) in ways.items():
        step, model, optimizer = make_step(device, batch, size, sizes, half=half, mode=mode)
        found[f"ms a step, {name}"] = 1e3 * seconds(step, device, steps=steps)
    fused = 1e3 * seconds(optimizer.step, device, steps=steps)  # gradients are there
    found["fused AdamW alone, ms"] = fused

    def clipped():
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    found["clip + fused AdamW alone, ms"] = 1e3 * seconds(clipped, device, steps=steps)
    if not found.tiny and device == "cuda":
        for name in ("eager bf16", "reduce-overhead bf16"):
            half, mode = WAYS[name]
            step, _, _ = make_step(device, 512, size, sizes, half=half, mode=mode)
            took = seconds(step, device, steps=steps)
            found[f"images/s at batch 512, {name}"] = 512 / took
