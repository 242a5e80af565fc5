"""Seconds from `python train.py` to its first step, with a cold and with a warm compilation cache.

    python -m benchmarks.startup --repeats 3

Each round starts train.py twice in a home directory of its own, where its cache is: the first start
compiles everything, the second finds it. The clock stops when the first step is in metrics.jsonl,
which is written once a second; then the process is ended. Both starts must report the same loss.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import finish, row

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
TARGETS = {"cold": 25.0, "warm": 10.0}


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet34", help="as train.py's")
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds")
    parser.add_argument("--timeout", type=float, default=240.0, help="seconds for each start")
    parser.add_argument("--tiny", action="store_true", help="the MLP, for the tests")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args(argv)


def start(home, run, args):
    """Seconds of one start, those of its threads, and the first line of its metrics."""
    env = {**os.environ, "HOME": str(home)}
    command = [sys.executable, str(TRAIN), "--model", args.model, "--out", str(run)]
    with (run.with_suffix(".log")).open("w+") as log:
        began = time.perf_counter()
        child = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            line = first_line(run / "metrics.jsonl", child, began + args.timeout)
            took = time.perf_counter() - began
        finally:
            os.kill(child.pid, signal.SIGKILL)  # nothing of it is needed any more
            _, child.returncode, used = os.wait4(child.pid, 0)
        if line is None:
            log.seek(0)
            raise RuntimeError(
                f"startup: train.py must show its first step within {args.timeout:g} s; it did not,"
                f" and wrote: {log.read()[-2000:]}"
            )
    return took, used.ru_utime + used.ru_stime, json.loads(line)


def first_line(path, child, deadline):
    """The first whole line of a file that a process is about to write; None if none comes."""
    while time.perf_counter() < deadline:
        ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if path.exists() and "\n" in (text := path.read_text()):
            return text.split("\n", 1)[0]
        if ended:
            return None
        time.sleep(0.02)
    return None


def main(argv=None):
    args = parse(argv)
    if args.tiny:
        args.model = "mlp"
    seconds, cpu, losses = {"cold": [], "warm": []}, {"cold": [], "warm": []}, []
    for i in range(args.repeats):
        with tempfile.TemporaryDirectory() as name:
            for kind, values in seconds.items():
                took, used, line = start(Path(name), Path(name) / f"{kind}{i}", args)
                values.append(took)
                cpu[kind].append(used)
                losses.append(line["train_loss"])
    if len(set(losses)) != 1:
        raise AssertionError(f"startup: every start must have the same first loss; got {losses}.")
    reached = {kind: statistics.median(values) for kind, values in seconds.items()}
    rows = [
        row(
            f"`python train.py` ({args.model}) to its first step, {kind} compilation cache",
            "<=",
            TARGETS[kind],
            reached[kind],
            unit=" s",
            note=f"least {min(seconds[kind]):.3g} s; processor time {min(cpu[kind]):.3g} s",
        )
        for kind in seconds
    ]
    result = {
        "model": args.model,
        "repeats": args.repeats,
        "first_loss": losses[0],
        "rows": rows,
        "seconds": seconds,
        "cpu_seconds": cpu,
    }
    return finish("startup", argv, args.out, result)


if __name__ == "__main__":
    main()
