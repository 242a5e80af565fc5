"""Lines for people may be lost; a program that prints them goes on."""

import io
import subprocess
import sys

import pytest

import gradtx.output
from gradtx.output import lossy, lossy_output


class Full(io.StringIO):
    def write(self, *text):
        raise OSError(28, "No space left on device")

    flush = write


def test_what_cannot_be_written_is_lost_and_nothing_is_raised():
    closed = io.StringIO()
    closed.close()
    for stream in (Full(), closed, None):
        print("lost", file=lossy(stream), flush=True)
        assert lossy(stream).isatty() is False
    assert lossy(lossy(closed)).stream is closed


def test_a_letter_that_the_encoding_lacks_becomes_an_escape():
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, "ascii")
    print("café \udcff", file=lossy(stream), flush=True)
    assert data.getvalue() == rb"caf\xe9 \udcff" + b"\n"


SCRIPT = """
import contextlib, os, sys
import importlib.util
spec = importlib.util.spec_from_file_location("output", sys.argv[2])
output = importlib.util.module_from_spec(spec)
spec.loader.exec_module(output)  # without JAX
with output.lossy_output():
    for i in range(3000):
        print("many words é", flush=True)
    file = open(sys.argv[1], "w")
    with contextlib.suppress(OSError):
        os.write(1, b"noise of a library")
    file.write(f"{file.fileno() > 2}")
"""


@pytest.mark.parametrize("sink", ["| head -1 >/dev/null", ">/dev/full", ">&-", ">&- 2>&- <&-"])
def test_a_process_goes_on_whatever_its_output_is(tmp_path, sink):
    """And another file never has the number of the standard output."""
    code = f"set -o pipefail; PYTHONIOENCODING=ascii {sys.executable} -c '{SCRIPT}' $0 $1 {sink}"
    command = ["bash", "-c", code, str(tmp_path / "x"), gradtx.output.__file__]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "x").read_text() == "True"


def test_afterwards_the_streams_are_those_of_before():
    before = sys.stdout, sys.stderr
    with pytest.raises(KeyError), lossy_output():
        assert sys.stdout is not before[0]
        raise KeyError
    assert (sys.stdout, sys.stderr) == before
