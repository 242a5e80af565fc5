"""Record PyTorch's packages for test_recent.py and test_quantizing.py; run once, by hand.

    python tests/golden/record_recent.py     writes torch_recent.json and torch_8bit.json

It needs torch, numpy, pytorch_optimizer (its AdEMAMix, ADOPT and SOAP, and its cautious Lion) and
bitsandbytes, by the authors of the 8-bit optimizers. The first file is in float64, as that of
record_torch.py; the second in float32, of one parameter of two blocks.
"""

import json
from importlib.metadata import version
from pathlib import Path

import bitsandbytes
import numpy as np
import pytorch_optimizer
import torch

STEPS = 8
PLAIN = dict(weight_decay=0.0, foreach=False)
CASES = {
    "ademamix": ("AdEMAMix", dict(lr=0.01, betas=(0.9, 0.99, 0.999), alpha=5.0, **PLAIN)),
    "ademamix warm-up decay": (
        "AdEMAMix",
        dict(
            lr=0.01, betas=(0.9, 0.99, 0.999), alpha=5.0, t_alpha_beta3=6, weight_decay=0.1,
            weight_decouple=True, foreach=False,
        ),
    ),
    "adopt": ("ADOPT", dict(lr=0.01, clip_lambda=lambda step: (step - 1) ** 0.25, **PLAIN)),
    "adopt decay": (
        "ADOPT",
        dict(
            lr=0.01, betas=(0.8, 0.99), clip_lambda=None, weight_decay=0.1, weight_decouple=True,
            foreach=False,
        ),
    ),
    "cautious lion": ("Lion", dict(lr=0.01, cautious=True, **PLAIN)),
    "soap": ("SOAP", dict(lr=0.01, betas=(0.9, 0.95), precondition_frequency=3, weight_decay=0.0)),
    "soap vectors": (
        "SOAP",
        dict(
            lr=0.01, betas=(0.9, 0.95), shampoo_beta=0.8, precondition_frequency=2, eps=1e-3,
            precondition_1d=True, normalize_gradient=False, correct_bias=False, weight_decay=0.0,
        ),
    ),
    "soap merged": (
        "SOAP",
        dict(
            lr=0.01, betas=(0.9, 0.95), precondition_frequency=2, max_precondition_dim=4,
            merge_dims=True, weight_decay=0.0,
        ),
    ),
    "soap one side": (
        "SOAP",
        dict(
            lr=0.01, betas=(0.9, 0.95), precondition_frequency=2, max_precondition_dim=2,
            weight_decay=0.0,
        ),
    ),
}  # fmt: skip


def trajectory(make, start, grads):
    params = {key: torch.nn.Parameter(torch.tensor(x)) for key, x in start.items()}
    optimizer = make(list(params.values()))
    out = []
    for g in grads:
        for key, p in params.items():
            p.grad = torch.tensor(g[key])
        optimizer.step()
        out.append({key: p.detach().numpy().tolist() for key, p in params.items()})
    return out, optimizer, params


def recent(rng):
    shapes = {"bias": (2,), "kernel": (3, 2), "square": (3, 3), "window": (2, 2, 3)}
    start = {key: rng.normal(size=shape) for key, shape in shapes.items()}
    grads = [{key: rng.normal(size=s) for key, s in shapes.items()} for _ in range(STEPS)]
    cases = {}
    for name, (cls, arguments) in CASES.items():
        make = lambda ps, cls=cls, a=arguments: getattr(pytorch_optimizer, cls)(ps, **a)
        shown = {k: v for k, v in arguments.items() if not callable(v)}
        # The package's merging fails for vectors.
        own = [key for key in shapes if len(shapes[key]) > 1 or "merged" not in name]
        pick = lambda tree, own=own: {key: tree[key] for key in own}
        made = trajectory(make, pick(start), [pick(g) for g in grads])[0]
        cases[name] = {"class": cls, "arguments": shown, "params": made}
    listed = lambda tree: {key: x.tolist() for key, x in tree.items()}
    return {
        "torch": torch.__version__,
        "pytorch_optimizer": version("pytorch_optimizer"),
        "start": listed(start),
        "grads": [listed(g) for g in grads],
        "cases": cases,
    }


def nearest(x, code, absmax_out, out, blocksize):
    """What the package does on GPUs, and on CPUs for other dtypes than these.

    Its CPU kernel for float32 finds a code in a table of even steps, so that all numbers below
    1.5e-5 of the largest of their block get one code.
    """
    codes, absmax = torch.ops.bitsandbytes.quantize_blockwise(x.double(), code, blocksize)
    out.copy_(codes)
    absmax_out.copy_(absmax)


def eight_bit(rng):
    bitsandbytes.backends.cpu.ops._quant_blockwise_fp32_direct = nearest
    start = {"w": rng.normal(size=512).astype(np.float32)}
    scales = 10.0 ** rng.integers(-3, 1, size=512)
    grads = [{"w": (rng.normal(size=512) * scales).astype(np.float32)} for _ in range(3)]
    make = lambda ps: bitsandbytes.optim.Adam8bit(ps, lr=0.01, min_8bit_size=1)
    params, optimizer, handles = trajectory(make, start, grads)
    state = optimizer.state[handles["w"]]
    code = bitsandbytes.functional.create_dynamic_map
    listed = lambda tree: {key: x.tolist() for key, x in tree.items()}
    return {
        "bitsandbytes": bitsandbytes.__version__,
        "signed": code(signed=True).tolist(),
        "unsigned": code(signed=False).tolist(),
        "start": listed(start),
        "grads": [listed(g) for g in grads],
        "params": params,
        "state": {
            key: state[key].numpy().tolist() for key in ("state1", "state2", "absmax1", "absmax2")
        },
    }


def main():
    here, rng = Path(__file__), np.random.default_rng(11)
    for name, record in (("torch_recent", recent(rng)), ("torch_8bit", eight_bit(rng))):
        here.with_name(f"{name}.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
