"""What one training step sends between devices, read from the compiled program.

    python -m benchmarks.scaling --devices 8 64 512
    python -m benchmarks.scaling --platform tpu --devices 8 64 256     # needs `pip install libtpu`

The step of ResNet-34 with AdamW is compiled, and never run, for so many devices: on the CPU for
virtual ones, for a TPU for the topology of a real slice, which needs no TPU. Each number of devices
is a process of its own. From the text of the program come the collectives and their shapes, and so
the bytes that a device sends in a step if each runs as a ring; beside it stands what is expected
of P bytes of parameters on n devices:

    data=n:   2 (n-1)/n P           one all-reduce of the gradient
    fsdp=n:   3 (n-1)/n P           parameters gathered twice at most, gradient scattered once

Activations are not counted in what is expected; they cross devices for batch statistics alone.
Devices share a batch of 8 images each.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.record import command, write

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8,
         "u64": 8, "f64": 8}  # fmt: skip
# v5e slices up to its largest, 256 chips; beyond, v5p.
TOPOLOGIES = {8: "v5e:2x4", 16: "v5e:4x4", 32: "v5e:4x8", 64: "v5e:8x8", 128: "v5e:8x16",
              256: "v5e:16x16", 512: "v5p:8x8x8"}  # fmt: skip
PER_DEVICE = 8
TINY = {"model": "resnet_tiny", "size": 16}


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--platform", choices=("cpu", "tpu"), default="cpu")
    parser.add_argument("--model", default="resnet34", help="of `models`")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels")
    parser.add_argument("--timeout", type=int, default=900, help="seconds for each compilation")
    parser.add_argument("--tiny", action="store_true", help="a small net, for the tests")
    parser.add_argument("--mesh", help="compile this one alone, in this process")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def collectives(text):
    """[(kind, bytes of the result on one device, size of a group)] of a program's text."""
    found = []
    pattern = rf"= (.*?) ({'|'.join(KINDS)})(?:-start)?\((.*)"
    for line in text.splitlines():
        match = re.search(pattern, line)
        if match is None:
            continue
        shapes, kind, rest = match.groups()
        if "-start(" in line and kind != "all-reduce":
            shapes = parts(shapes)[1]  # (operand, result, ...)
        found.append((kind, size_of(shapes), group_size(rest)))
    return found


def parts(shapes):
    """The elements of a tuple of shapes.

    >>> parts("(f32[2,3]{1,0}, (f32[4], u32[]))")
    ['f32[2,3]{1,0}', '(f32[4], u32[])']
    """
    found, depth = [""], 0
    for sign in shapes[1:-1]:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            found.append("")
        else:
            found[-1] += sign
    return [part.strip() for part in found]


def size_of(shapes):
    """Bytes of "f32[2,3]{1,0}", or of a tuple of such.

    >>> size_of("(f32[2,3]{1,0}, bf16[])")
    26
    """
    total = 0
    for dtype, dims in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shapes):
        count = 1
        for dim in filter(None, dims.split(",")):
            count *= int(dim)
        total += count * BYTES[dtype]
    return total


def group_size(rest):
    """How many devices take part, in any of the ways in which a program says so.

    >>> [group_size(x) for x in ("replica_groups={{0,1},{2,3}}", "replica_groups=[4,2]<=[8]")]
    [2, 2]
    >>> group_size("replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0'}")
    4
    >>> group_size("replica_groups=mesh['a'=8,'b'=3], device_ids=([8,3]T(1,0)) {'a','b'}, dim={0}")
    24
    """
    if match := re.search(
        r"replica_groups=mesh\[(.*?)\](?:, device_ids=\(.*?\))? \{('.*?)\}", rest
    ):
        sizes = {k: int(v) for k, v in re.findall(r"('\w+')=(\d+)", match.group(1))}
        size = 1
        for axis in re.findall(r"'\w+'", match.group(2)):
            size *= sizes[axis]
        return size
    if "source_target_pairs" in rest:
        return 2
    if match := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(match.group(1))
    if match := re.search(r"replica_groups=\{\{([\d,]*)\}", rest):
        return match.group(1).count(",") + 1
    raise ValueError(f"scaling: a collective must name its groups; got {rest[:200]!r}.")


def sent(kind, size, n):
    """Bytes that a device sends, of a result of `size` bytes on it, in a ring of n.

    >>> [sent(kind, 800, 8) for kind in KINDS]
    [1400.0, 700.0, 5600, 700.0, 800]
    """
    return {
        "all-reduce": 2 * (n - 1) / n * size,
        "all-gather": (n - 1) / n * size,
        "reduce-scatter": (n - 1) * size,
        "all-to-all": (n - 1) / n * size,
        "collective-permute": size,
    }[kind]


def expected(params, data, fsdp):
    """Bytes that a device sends for `params` bytes of parameters."""
    if fsdp == 1:
        return 2 * (data - 1) / data * params
    return 3 * (fsdp - 1) / fsdp * params + 2 * (data - 1) / data * params / fsdp


def compile_step(args, text):
    """The text of the program for one mesh, and what goes with it."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

    import gradtx
    from benchmarks.record import environment
    from gradtx import models
    from gradtx.loop import Loop, from_linen, train_step
    from gradtx.loop.losses import cross_entropy
    from gradtx.parallel.mesh import AXES, make_mesh, parse_mesh, state_shardings

    sizes = parse_mesh(text)
    if args.platform == "tpu":
        from jax.experimental import topologies

        topology = topologies.get_topology_desc(TOPOLOGIES[sizes["data"] * sizes["fsdp"]], "tpu")
        devices = topologies.make_mesh(topology, tuple(sizes.values()), AXES).devices
        mesh = Mesh(devices, AXES, axis_types=(AxisType.Auto,) * 2)
    else:
        mesh = make_mesh(sizes)
    model = getattr(models, args.model)(num_classes=10, conv_form="native")
    loop = Loop(apply=from_linen(model), loss=cross_entropy, tx=gradtx.adamw(1e-3))
    shape = (mesh.size * PER_DEVICE, args.size, args.size, 3)

    def start():
        variables = dict(model.init(jax.random.key(0), jnp.zeros((1, *shape[1:])), train=False))
        return loop.init(variables.pop("params"), variables)

    state = jax.eval_shape(start)
    shardings = state_shardings(state, mesh)
    placed = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
    split = NamedSharding(mesh, PartitionSpec(AXES))
    batch = {"image": placed(jax.ShapeDtypeStruct(shape, jnp.float32), split),
             "label": placed(jax.ShapeDtypeStruct(shape[:1], jnp.int32), split)}  # fmt: skip

    def step(state, batch):
        leaves, structure = jax.tree.flatten(train_step(loop, state, batch)[0])
        kept = jax.lax.with_sharding_constraint(leaves, jax.tree.leaves(shardings))
        return jax.tree.unflatten(structure, kept)

    began = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=0).lower(jax.tree.map(placed, state, shardings), batch)
    program = lowered.compile()
    params = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.params))
    return {
        "program": program.as_text(),
        "params": params,
        "expected": expected(params, **sizes),
        "arguments": program.memory_analysis().argument_size_in_bytes,
        "compile_s": time.perf_counter() - began,
        "environment": environment(),
    }


def measure(args, text):
    """What one mesh needs."""
    measured = compile_step(args, text)
    found = collectives(measured.pop("program"))
    by_kind = {}
    for kind, size, n in found:
        if n > 1:
            entry = by_kind.setdefault(kind, {"count": 0, "bytes_sent": 0.0})
            entry["count"] += 1
            entry["bytes_sent"] += sent(kind, size, n)
    total = sum(entry["bytes_sent"] for entry in by_kind.values())
    return {"mesh": text} | measured | {"bytes_sent": total, "collectives": by_kind}


def in_a_process(args, devices, text):
    """`measure`, in a process with so many devices; an error is part of the result."""
    # Machine code is of no interest here: the quickest to make will do.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    count = devices if args.platform == "cpu" else 1
    flags += f" --xla_force_host_platform_device_count={count}"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags,
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
    }
    words = [sys.executable, "-m", "benchmarks.scaling", "--platform", args.platform]
    words += ["--model", args.model, "--size", str(args.size), "--mesh", text]
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=args.timeout
        )
    except subprocess.TimeoutExpired:
        return {"mesh": text, "error": f"not compiled within {args.timeout} s"}
    if done.returncode:
        return {"mesh": text, "error": (done.stderr.strip() or "no message").splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def meshes(n):
    """Data parallel, fully sharded over all devices, and over eight (one host) at a time."""
    return [f"data={n}", f"fsdp={n}", *([f"data={n // 8},fsdp=8"] if n > 8 else [])]


def table(results):
    """The results in Markdown."""
    head = ["mesh", "collectives", "MB sent", "expected", "MB of state and batch", "compiled in"]
    lines = [head, ["---"] * len(head)]
    for r in results:
        if "error" in r:
            lines.append([r["mesh"], r["error"], "", "", "", ""])
            continue
        kinds = [
            f"{c['count']} {k} ({c['bytes_sent'] / 1e6:.1f} MB)"
            for k, c in r["collectives"].items()
        ]
        figures = [r["bytes_sent"], r["expected"], r["arguments"]]
        numbers = [f"{x / 1e6:.1f}" for x in figures]
        lines.append([r["mesh"], ", ".join(kinds), *numbers, f"{r['compile_s']:.0f} s"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv=None):
    args = parse(argv)
    if args.tiny:
        args.model, args.size = TINY["model"], TINY["size"]
    if args.mesh:
        print(json.dumps(measure(args, args.mesh)))
        return None
    results = [in_a_process(args, n, text) for n in args.devices for text in meshes(n)]
    print(table(results))
    made_by = [found.pop("environment") for found in results if "environment" in found]
    about = {"benchmark": "scaling", "command": command("scaling", argv), **dict(*made_by[:1])}
    about |= {"platform": args.platform, "model": args.model, "size": args.size,
              "images_per_device": PER_DEVICE, "optimizer": "gradtx.adamw"}  # fmt: skip
    write(about | {"results": results}, args.out)
    return results


if __name__ == "__main__":
    main()
