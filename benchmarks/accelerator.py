"""Everything that an accelerator shows, in one command, for any device that JAX has.

    python -m benchmarks.accelerator --minutes 5 --out benchmarks/results/accelerator/NAME.json

Each section of `benchmarks.sections` runs in a process of its own, one after another: this one
never starts JAX's backend, two processes on one card would starve each other, and some sections
need other XLA flags. They share a compilation cache. A section that fails, or for which no time is
left, costs only itself; what has been found is written after each.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import ROOT, command, row, write

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
# name -> (the most seconds that it may take, XLA flags beside those of the environment). What
# matters most comes first, in case that the time is short.
SECTIONS = {
    "device": (60, ""),
    "step": (150, ""),
    "loop": (60, ""),
    "optimizer": (90, ""),
    "fed": (150, ""),
    "plain": (60, ""),
    "deterministic": (90, DETERMINISTIC),
    "deterministic_again": (60, DETERMINISTIC),
    "profile": (60, ""),
    "step_large": (120, ""),
    "population": (90, DETERMINISTIC),
    "torch": (150, ""),
    "compile": (90, ""),
}
TARGETS = {  # figure -> relation, target
    "loop: fit, ms a step": ("<=", 0.1),
    "step: time through fit / plain Flax, a call a step": ("<=", 0.92),
    "step_large: images/s, compiled epoch": (">=", 33000),
    "optimizer: adamw in a scan, ms": ("<=", 0.32),
    "optimizer: clip_adamw in a scan, ms": ("<=", 0.42),
    "optimizer: adamw alone / Optax": ("<=", 1.05),
    "optimizer: flatten(adamw) alone, ms": ("<=", 0.8),
    "deterministic: cost of a step": ("<=", 0.15),
    "deterministic: two runs equal": (">=", 1),
    "deterministic: host loop and compiled fit equal": (">=", 1),
    "compile: first compile of the step, s": ("<=", 15),
    "compile: warnings": ("<=", 0),
}


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="most time for all")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--tiny", action="store_true", help="small models, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def run_section(name, seconds, flags, folder, tiny):
    """What one section has found, or why it has not; it ends after so many seconds."""
    out = folder / f"{name}.json"
    words = [sys.executable, "-m", "benchmarks.sections", name, str(out)]
    words += ["--tiny"] if tiny else []
    cache = folder / f"cache-{name}" if name == "compile" else folder / "cache"
    env = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        **{key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"},
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
        "TF_GPU_ALLOCATOR": "cuda_malloc_async" if name == "torch" else "",
    }
    began = time.monotonic()
    with (folder / f"{name}.log").open("w+") as log:
        try:
            subprocess.run(
                words, cwd=ROOT, env=env, timeout=seconds, check=True, stdout=log, stderr=log
            )
            found = {"status": "ok"}
        except subprocess.TimeoutExpired:
            found = {"status": f"stopped after {seconds:.0f} s"}
        except subprocess.CalledProcessError as error:
            found = {"status": f"failed with status {error.returncode}"}
        log.seek(0)
        said = log.read()
    if out.exists():  # a section writes each figure when it has it
        found |= json.loads(out.read_text())
    if found["status"] != "ok":
        found["log"] = said[-1500:]
    found["warnings"] = said.count("Delay kernel timed out")
    return found | {"seconds": time.monotonic() - began}


def complete(sections):
    """The figures that need more than one section."""
    figures = {name: found.setdefault("figures", {}) for name, found in sections.items()}
    mine, again, plain = (
        sections.get(k, {}) for k in ("deterministic", "deterministic_again", "plain")
    )
    if "digest" in mine and "digest" in again:
        figures["deterministic"]["two runs equal"] = float(mine["digest"] == again["digest"])
    both = [found.get("figures", {}).get("ms a step") for found in (mine, plain)]
    if None not in both:
        figures["deterministic"]["cost of a step"] = both[0] / both[1] - 1
    if sections.get("compile", {}).get("status") == "ok":
        figures["compile"]["warnings"] = float(sections["compile"]["warnings"])


def rows_of(sections):
    """The lines of the table, as `benchmarks.report` takes them."""
    rows = []
    for name, found in sections.items():
        for what, reached in found.get("figures", {}).items():
            relation, target = TARGETS.get(f"{name}: {what}", ("", None))
            rows.append({"section": name} | row(what, relation, target, reached))
        if found["status"] != "ok":
            said = {"what": "the section", "target": None, "reached": found["status"], "met": None}
            rows.append({"section": name} | said)
    return rows


def main(argv=None):
    args = parse(argv)
    until = time.monotonic() + 60 * args.minutes
    sections = {}
    result = {"benchmark": "accelerator", "command": command("accelerator", argv)}
    with tempfile.TemporaryDirectory() as name:
        for section in args.only:
            most, flags = SECTIONS[section]
            left = until - time.monotonic()
            if left < 5:
                found = {"status": "left out: no time", "seconds": 0.0}
            else:
                found = run_section(section, min(most, left), flags, Path(name), args.tiny)
            sections[section] = found
            result |= found.pop("environment", {})
            print(f"{section}: {found['status']}, {found['seconds']:.0f} s", flush=True)
            for what, figure in found.get("figures", {}).items():
                print(f"    {what}: {figure:.4g}", flush=True)
            complete(sections)
            result |= {"rows": rows_of(sections), "sections": sections}
            write(result, args.out)
    for line in result["rows"]:
        if line["met"] is False:
            print(
                f"Not met: {line['section']}: {line['what']}: {line['reached']}, {line['target']}"
            )
    return result


if __name__ == "__main__":
    main()
