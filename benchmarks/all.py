"""Makes all records of `benchmarks/results` anew: on one machine, at one commit, with one command.

    python -m benchmarks.all

Every benchmark runs with its defaults in a process of its own, one after another, together some 35
minutes on two idle cores. PyTorch and Optuna take part where they are installed. A benchmark that
fails costs only its own record. At the end the tables of README.md are made from the records.

Not among them: `python -m benchmarks.compile_time --leaves 5000`, since Optax needs 12 minutes for
it; `benchmarks.accelerator`, `benchmarks.scaling` and `benchmarks.article` have other records.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.record import ROOT

RESULTS = Path("benchmarks/results")  # of the repository, in whose root all is run
NAMES = ["memory", "loop", "startup", "optimizer", "search", "population", "input", "layer_health",
         "compile_time", "train_step"]  # fmt: skip


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--tiny", action="store_true", help="each in its tiny form; no tables")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a folder")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    out = args.out if args.out == RESULTS else args.out.absolute()
    failed = []
    for name in args.only:
        words = ["-m", f"benchmarks.{name}", "--out", str(out / f"{name}.json")]
        words += ["--tiny"] if args.tiny else []
        began = time.monotonic()
        done = subprocess.run([sys.executable, *words], cwd=ROOT)
        failed += [name] if done.returncode else []
        print(f"{name}: {time.monotonic() - began:.0f} s\n", flush=True)
    if not args.tiny and out == RESULTS:
        subprocess.run([sys.executable, "-m", "benchmarks.report"], cwd=ROOT, check=True)
    if failed:
        print(f"No record of {', '.join(failed)}: see above.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
