"""The record of a benchmark: its rows, the commit and the machine it was made by, its JSON file.

The `rows` are lines of the table in README.md: what was measured, the target, what was reached. JAX
is imported only where its device is asked for, since `benchmarks.accelerator` must not load it.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELATIONS = {"<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b, "": lambda a, b: None}


def row(what, relation, target, reached, *, unit="", note=""):
    """One line of the table; `relation` is "<=", ">=" or, without a target, "".

    >>> row("time of a step", "<=", 0.3, 0.25, unit=" ms")["target"]
    '<= 0.3 ms'
    """
    number = lambda x: f"{x:,.0f}{unit}" if abs(x) >= 1000 else f"{x:.3g}{unit}"
    return {
        "what": what,
        "target": None if target is None else f"{relation} {number(target)}",
        "reached": number(reached),
        "met": RELATIONS[relation](reached, target),
        "note": note,
    }


def on_huge_pages():
    """Start this process again as train.py does, for memory in huge pages; see there."""
    if sys.platform == "linux" and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
        with contextlib.suppress(OSError):
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def environment():
    """What a figure depends on beside the code."""
    import jax

    names = ["jax", "jaxlib", "flax", "optax", "numpy", "torch"]
    found = [name for name in names if importlib.util.find_spec(name)]
    return {
        "commit": commit(),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in found},
        "device": str(jax.devices()[0].device_kind),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "settings": {
            name: os.environ[name] for name in ("GLIBC_TUNABLES", "XLA_FLAGS") if name in os.environ
        },
    }


def commit():
    """The commit of the code, "(changed)" behind it if the code differs; "" outside a checkout."""
    if shutil.which("git") is None:
        return ""
    git = lambda *words: subprocess.run(
        ["git", "-C", ROOT, *words], capture_output=True, text=True, check=False
    ).stdout.strip()
    code = (".", ":!*.json", ":!benchmarks/README.md")  # records lie anywhere
    changed = git("status", "--porcelain", "--", *code)
    return f"{git('rev-parse', '--short', 'HEAD')}{' (changed)' if changed else ''}"


def cpu_model(path="/proc/cpuinfo"):
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "")


def command(module, argv):
    """The command line of a benchmark; `argv` is None for the process's own."""
    words = sys.argv[1:] if argv is None else list(map(str, argv))
    return shlex.join(["python", "-m", f"benchmarks.{module}", *words])


def write(result, out):
    """Write a record as JSON to `out`, unless that is None."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")


def finish(module, argv, out, result):
    """Complete a result with what it was made by, print its rows, and write it.

    `module` is the benchmark's name, `argv` its command line, or None for the process's own.
    """
    result = {"benchmark": module, "command": command(module, argv)} | environment() | result
    for line in result["rows"]:
        target = f" (target {line['target']})" if line["target"] else ""
        print(f"{line['what']}: {line['reached']}{target} {line['note']}".rstrip())
    write(result, out)
    return result
