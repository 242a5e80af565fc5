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
import signal
import sys
from pathlib import Path
from typing import BinaryIO

from gradtx.data.canvas_row import draw_row


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    head = json.loads(requests.readline())
    pixels = os.open(head["pixels"], os.O_WRONLY)
    while line := requests.readline():
        ask = json.loads(line)
        photo = Path(ask["path"]) if ask["path"] is not None else requests.read(ask["bytes"])
        answer = draw_row(photo, ask["row"], side=head["side"], pixels=pixels)
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    serve(sys.stdin.buffer, sys.stdout.buffer)
