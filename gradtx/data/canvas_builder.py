"""Drawing all canvases of a data set at once, on all cores."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

import gradtx
from gradtx.data.canvas_row import draw_row
from gradtx.data.errors import DataError
from gradtx.data.photo_source import PhotoSource

PART = 32  # photos that a process is given at a time
WORTH_A_PROCESS = 256  # photos; it takes about two seconds to start
PROGRESS = 5.0  # seconds from one line to the next


class Canvases:
    """What is known of the canvases of a data set, row by row; `drawn` is False where none is."""

    def __init__(self, count: int) -> None:  # noqa: D107
        self.labels, self.sizes = np.zeros(count, np.int32), np.ones((count, 2), np.int32)
        self.digests, self.drawn = np.zeros(count, np.uint32), np.zeros(count, bool)

    def note(self, row: int, label: int, answer: dict[str, Any]) -> None:
        """Take over the answer of a worker.

        Raises:
            OSError: if it could not write.
        """
        if "failed" in answer:
            raise OSError(answer["failed"])
        self.labels[row], self.drawn[row] = label, "size" in answer
        if self.drawn[row]:
            self.sizes[row], self.digests[row] = answer["size"], answer["digest"]


def build(
    sources: Sequence[PhotoSource],
    path: Path,
    *,
    side: int,
    say: Callable[[str], Any],
    processes: int | None = None,
) -> Canvases:
    """Draw the canvases of all photos into a file that has room for them, one after the other.

    Photos that cannot be read are left out.

    Args:
        sources: the photos.
        path: the file.
        side: of the canvases, in pixels.
        say: called with each line about the progress.
        processes: how many to start; 0 draws here; None: one a core, if there are photos enough.

    Raises:
        OSError: if a canvas cannot be written, or a process ends early.
    """
    rows = [(source, i) for source in sources for i in range(len(source))]
    if processes is None:
        processes = min(cores(), len(rows) // WORTH_A_PROCESS)
    found, progress = Canvases(len(rows)), Progress(len(rows), say)
    parts: SimpleQueue[range] = SimpleQueue()
    for start in range(0, len(rows), PART):
        parts.put(range(start, min(start + PART, len(rows))))

    def work(draw: Callable[[list[tuple[int, Any]]], list[dict[str, Any]]]) -> None:
        for part in taken(parts):
            records = {row: record_of(*rows[row]) for row in part}
            known = [(row, record) for row, record in records.items() if record is not None]
            for (row, record), answer in zip(known, draw(known), strict=True):
                found.note(row, int(record["label"]), answer)
            progress.add(len(part))

    if not processes:
        with path.open("r+b") as file:
            place: Any = {"side": side, "pixels": file.fileno()}
            work(lambda known: [draw_row(record["image"], row, **place) for row, record in known])
        return found
    with workers(processes, path, side) as started, ThreadPoolExecutor(processes) as pool:
        try:
            for done in [pool.submit(work, worker) for worker in started]:
                done.result()
        finally:
            for _ in taken(parts):  # after an error the other threads find nothing more to do
                pass
    return found


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def taken(parts: "SimpleQueue[range]") -> Iterator[range]:
    """The parts that nobody else has taken."""
    while True:
        try:
            yield parts.get_nowait()
        except Empty:
            return


def record_of(source: PhotoSource, index: int) -> dict[str, Any] | None:
    """The record of a photo; None if it cannot be read."""
    try:
        return source.record(index)
    except DataError:
        return None


class Progress:
    """Says from time to time how many photos are drawn."""

    def __init__(self, count: int, say: Callable[[str], Any]) -> None:  # noqa: D107
        self.count, self.say, self.done = count, say, 0
        self.began = self.said = 0.0  # when the first are drawn
        self.lock = Lock()

    def add(self, number: int) -> None:
        """So many more."""
        with self.lock:
            now = time.monotonic()
            if not self.done:
                self.began = self.said = now
            self.done += number
            if now - self.said >= PROGRESS:
                self.said = now
                rate = self.done / (now - self.began)
                self.say(f"{self.done:,} of {self.count:,} photos decoded, {rate:,.0f} a second.")


@contextmanager
def workers(count: int, path: Path, side: int) -> Iterator[list[Callable[..., Any]]]:
    """Processes that draw: functions of (row, record) pairs that return a worker's answers."""
    # The same gradtx, whatever made it importable here; nothing of the current directory.
    root = str(Path(gradtx.__file__).parents[1])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-P", "-m", "gradtx.data.canvas_worker"]
    # A session of their own: Ctrl-C is for this process, with which they end.
    how: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    how |= {"start_new_session": True}
    env = os.environ | {"PYTHONPATH": search, "JAX_PLATFORMS": "cpu"}
    started = []
    try:
        for _ in range(count):
            started.append(subprocess.Popen(command, env=env, **how))
            send(started[-1], {"pixels": str(path), "side": side})
        yield [lambda known, process=process: ask(process, known) for process in started]
    except BaseException:
        for process in started:
            process.kill()
        raise
    finally:
        for process in started:
            with suppress(OSError), process:  # closes its pipes, at which it ends, and waits
                pass


def send(process: subprocess.Popen, head: dict[str, Any], data: bytes = b"") -> None:
    """Write a line of JSON and what follows it."""
    assert process.stdin is not None
    process.stdin.write(json.dumps(head).encode() + b"\n" + data)


def ask(process: subprocess.Popen, known: Sequence[tuple[int, Any]]) -> list[dict[str, Any]]:
    """The answers of one process to some requests."""
    assert process.stdin is not None and process.stdout is not None
    for row, record in known:
        image = record["image"]
        if isinstance(image, bytes):
            send(process, {"row": row, "path": None, "bytes": len(image)}, image)
        else:
            send(process, {"row": row, "path": str(image)})
    process.stdin.flush()
    lines = [process.stdout.readline() for _ in known]
    if not all(lines):
        raise OSError(f"a process that decodes ended early, with status {process.wait()}")
    return [json.loads(line) for line in lines]
