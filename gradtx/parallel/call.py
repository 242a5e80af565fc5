"""What a process of a job says of itself to process 0, and how it is said and heard."""

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

HELLO = "gradtx roll-call 1"
MOST = 2**20  # bytes of a call
PAUSE = 0.2  # seconds from one try to the next


class JoinError(RuntimeError):
    """The processes of a job can't be joined; the message is the same in all that could hear it."""


@dataclass(frozen=True)
class Call:
    """What a process says of itself.

    Args:
        process_id: its number, from 0 on.
        processes: how many it was told that there are.
        options: what must be the same in all processes, by name.
    """

    process_id: int
    processes: int
    options: Mapping[str, str] = field(default_factory=dict)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT"; an IPv6 address is in brackets.

    >>> split_address("[::1]:8476")
    ('::1', 8476)

    Args:
        address: of this form.
    """
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def differences(calls: Mapping[int, Call]) -> str:
    """What of the calls by number contradicts the first process's; "" if nothing does.

    Args:
        calls: one of each process, that of number 0 among them.
    """
    first = calls[0]
    for number, call in sorted(calls.items()):
        if call.processes != first.processes:
            return (
                f"process {number} was started with --processes {call.processes} and process 0 with"
                f" {first.processes}"
            )
        names = [*first.options, *(name for name in call.options if name not in first.options)]
        both = [(x, call.options.get(x, "none"), first.options.get(x, "none")) for x in names]
        if differ := [
            f"{name} {got} (process 0: {want})" for name, got, want in both if got != want
        ]:
            return f"process {number} was started with {', '.join(differ)}"
    return ""


def parsed(data: bytes) -> Call | None:
    """What a process says of itself; None if it is another kind of program that calls."""
    try:
        found = json.loads(data)
        hello, own = found.pop("hello"), Call(**found)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    numbers = isinstance(own.process_id, int) and isinstance(own.processes, int)
    return own if hello == HELLO and numbers and isinstance(own.options, dict) else None


def resolve(address: str, deadline: float) -> list[tuple[int, str]]:
    """The families and IP addresses of a host, IPv4 first; a name may become known in time."""
    host, port = split_address(address)
    while True:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return sorted({(family, str(where[0])) for family, *_, where in found})
        except (OSError, UnicodeError) as error:
            if time.monotonic() + PAUSE > deadline:
                raise JoinError(
                    f"join: coordinator must be HOST:PORT of process 0; got {address}, whose host"
                    " has no address. Correct the name, in all processes."
                ) from error
            time.sleep(PAUSE)


def exchange(family: int, ip: str, port: int, own: Call, deadline: float) -> str:
    """Call, and hear the answer: what is wrong with the job, or "".

    Raises:
        OSError, ValueError: if there is none.
    """
    left = lambda: max(deadline - time.monotonic(), 0.01)
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(min(left(), 5))
        connection.connect((ip, port))
        call = {"hello": HELLO, "process_id": own.process_id, "processes": own.processes}
        connection.sendall(json.dumps(call | {"options": dict(own.options)}).encode() + b"\n")
        heard = b""
        while not heard.endswith(b"\n"):
            connection.settimeout(left())
            data = connection.recv(2**16)
            if not data or len(heard) > MOST:
                raise ValueError("no answer")
            heard += data
        found = json.loads(heard)
        if not isinstance(found, dict) or found.get("hello") != HELLO:
            raise ValueError("another program")
        return str(found["problem"])


def answer(problem: str) -> bytes:
    """What process 0 says to those who called: what is wrong, or "" to go on."""
    return json.dumps({"hello": HELLO, "problem": problem}).encode() + b"\n"
