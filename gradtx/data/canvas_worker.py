"""A process that draws canvases of photos: `python -m gradtx.data.canvas_worker`.

It reads requests from the standard input and answers each with a line on the standard output, until
the input ends, as it does with the process that asks. The first line is a JSON object of

    pixels, side        the file that the canvases go to, made already; the canvases' side

and each request one of

    row, path           which of the canvases; the photo's file, or null
    bytes               without a path: how many bytes of the photo follow the line

An answer has `size`, the photo's [height, width], and `digest`, that of its canvas; or
`unreadable`; or `failed`, if the canvas cannot be written.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

from gradtx.data.canvas_row import draw_row


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more; one that is cut off is none."""
    if (head := next_line(requests)) is None:
        return
    pixels = os.open(head["pixels"], os.O_WRONLY)
    while (ask := next_line(requests)) is not None:
        photo = Path(ask["path"]) if ask["path"] else requests.read(ask["bytes"])
        if isinstance(photo, bytes) and len(photo) < ask["bytes"]:
            return
        answer = draw_row(photo, ask["row"], side=head["side"], pixels=pixels)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def next_line(requests: BinaryIO) -> dict[str, Any] | None:
    """The JSON object of the next line, or None at the end."""
    line = requests.readline()
    return json.loads(line) if line.endswith(b"\n") else None


if __name__ == "__main__":
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:  # nobody waits for the answer any more
        os._exit(0)
