"""A roll-call of the processes of a job, by plain sockets, before JAX is asked to connect them.

JAX's own runtime waits for what never comes, aborts without a word, and does not know with which
options a process was started. Here process 0 listens on the coordinator's port; each of the others
says who it is, and all are told the same: go on, or the one line that says why not.
"""

import errno
import ipaddress
import json
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

HELLO = "gradtx roll-call 1"
MOST = 2**20  # bytes of a call
PAUSE = 0.2  # seconds from one try to the next
GRACE = 1.0  # seconds for which process 0 listens when all have come, for one too many
REFUSING = 10.0  # seconds for which it tells those who come later that it has refused the job


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


def call_roll(
    address: str, own: Call, *, timeout: float, say: Callable[[str], None] = print
) -> str | None:
    """Find out whether all processes of a job are there, once each and with the same options.

    Returns where process 0 is to listen, "IP:PORT"; None in the others.

    Args:
        address: HOST:PORT of process 0.
        own: what this process says of itself.
        timeout: how long all may take, in seconds.
        say: is given a line, in process 0, if it listens on all interfaces though it was given a
            name.

    Raises:
        JoinError: if anything is wrong; in every process, within `timeout`.
    """
    deadline = time.monotonic() + timeout
    if own.process_id:
        _answer(address, own, deadline, timeout)
        return None
    with _listening(address, own, deadline, say) as (server, where):
        _Roll(server, own, deadline - min(1.0, timeout / 10), timeout).call()
    return where


# --- process 0


@contextmanager
def _listening(
    address: str, own: Call, deadline: float, say: Callable[[str], None]
) -> Iterator[tuple[socket.socket, str]]:
    host, port = split_address(address)
    found = _resolve(address, deadline)
    everywhere = _is_name(host) and all(ipaddress.ip_address(ip).is_loopback for _, ip in found)
    if everywhere:
        say(
            f"Process 0 listens on all interfaces, port {port}: {host} is this machine's own"
            f" address {found[0][1]} here, which no other machine can reach."
        )
        found = _everywhere()
    error: OSError | None = None
    for family, ip in found:
        try:
            both = family == socket.AF_INET6 and ip == "::" and socket.has_dualstack_ipv6()
            server = socket.create_server((ip, port), family=family, dualstack_ipv6=both)
        except OSError as failed:
            if failed.errno == errno.EADDRINUSE:
                _ask_who_listens(address, own, deadline)
                raise JoinError(
                    f"join: port {port} of {host} must be free for process 0; got one that another"
                    " program uses. Choose another port, in all processes."
                ) from failed
            error = error or failed
            continue
        with server:
            yield server, f"[{ip}]:{port}" if family == socket.AF_INET6 else f"{ip}:{port}"
        return
    raise JoinError(
        f"join: coordinator must be an address of the machine of process 0; got {address}"
        f" ({error.strerror if error else 'none'}). Name that machine, or start process 0 there."
    ) from error


def _is_name(host: str) -> bool:
    """Whether a host is a name, of which another machine may know another address."""
    if host == "localhost":
        return False
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return False
    return True


def _everywhere() -> list[tuple[int, str]]:
    six = [(socket.AF_INET6, "::")] if socket.has_dualstack_ipv6() else []
    return [*six, (socket.AF_INET, "0.0.0.0")]


def _ask_who_listens(address: str, own: Call, deadline: float) -> None:
    """If another process 0 of the job has the port, both are told so."""
    with suppress(OSError, ValueError):
        for family, ip in _resolve(address, deadline):
            soon = min(deadline, time.monotonic() + 2)
            found = _exchange(family, ip, split_address(address)[1], own, soon)
            if found:
                raise JoinError(found)


def _parsed(data: bytes) -> Call | None:
    """What a process says of itself; None if it is another kind of program that calls."""
    try:
        found = json.loads(data)
        hello, own = found.pop("hello"), Call(**found)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    numbers = isinstance(own.process_id, int) and isinstance(own.processes, int)
    return own if hello == HELLO and numbers and isinstance(own.options, dict) else None


@dataclass
class _Roll:
    """The calls so far, and what becomes of them."""

    server: socket.socket
    own: Call
    deadline: float
    timeout: float

    def __post_init__(self) -> None:
        self.calls = {0: self.own}
        self.heard: dict[socket.socket, bytes] = {}
        self.numbers: dict[socket.socket, int] = {}
        self.problem = ""

    def call(self) -> None:
        """Listen until all have come, something is wrong, or it is too late; tell all."""
        with ExitStack() as stack, selectors.DefaultSelector() as ready:
            self.server.setblocking(False)
            ready.register(self.server, selectors.EVENT_READ)
            end = self.deadline
            while time.monotonic() < end:
                for key, _ in ready.select(PAUSE):
                    connection: Any = key.fileobj
                    if connection is not self.server:
                        self._hear(connection, ready)
                        continue
                    with suppress(OSError):
                        accepted = stack.enter_context(self.server.accept()[0])
                        accepted.setblocking(False)
                        self.heard[accepted] = b""
                        ready.register(accepted, selectors.EVENT_READ)
                all_there = len(self.calls) >= self.own.processes
                if self.problem:
                    self._tell(self.problem)
                    if all_there:
                        break
                # Wait on for those who are late, to refuse them too, or for one too many.
                if not (self.problem or all_there):
                    end = self.deadline
                elif end == self.deadline:
                    end = time.monotonic() + (REFUSING if self.problem else GRACE)
            missing = [n for n in range(self.own.processes) if n not in self.calls]
            if missing and not self.problem:
                self.problem = self._absent(missing)
            self._tell(self.problem)
            if self.problem:
                raise JoinError(self.problem)
            self._part()

    def _hear(self, connection: socket.socket, ready: selectors.BaseSelector) -> None:
        data = b""
        with suppress(OSError):
            data = connection.recv(2**16)
        self.heard[connection] += data
        if not data or len(self.heard[connection]) > MOST:  # it has gone, or is a stranger
            ready.unregister(connection)
            number = self.numbers.pop(connection, None)
            if number is not None and number not in self.numbers.values():
                self.calls.pop(number)
            connection.close()
        elif data.endswith(b"\n") and connection not in self.numbers:
            if found := _parsed(self.heard[connection]):
                self._note(connection, found)

    def _note(self, connection: socket.socket, call: Call) -> None:
        number = call.process_id
        if number in self.calls:
            got = f"{number} twice"
        elif not 0 <= number < self.own.processes and call.processes == self.own.processes:
            got = f"{number} of {self.own.processes}"
        else:
            got = ""
        self.numbers[connection] = number
        self.calls.setdefault(number, call)
        if got:
            self._refuse(
                f"join: each process must have a number of its own; got {got}. Number them."
            )
        elif found := differences({0: self.own, number: call}):
            self._refuse(
                f"join: all processes must be started with the same options; got other ones:"
                f" {found}. Start all with the same, but for --process-id."
            )

    def _refuse(self, problem: str) -> None:
        self.problem = self.problem or problem

    def _absent(self, missing: list[int]) -> str:
        some = ", ".join(map(str, missing[:8])) + (" ..." if len(missing) > 8 else "")
        return (
            f"join: {self.own.processes} processes must come within {self.timeout:g} s; got"
            f" {self.own.processes - len(missing)}, without number {some}. Start those too, or"
            " wait longer by --join-timeout."
        )

    def _tell(self, problem: str) -> None:
        """Give the answer to all who have called and have none."""
        for connection in [*self.numbers]:
            with suppress(OSError):
                connection.setblocking(True)
                connection.settimeout(5)
                connection.sendall(
                    json.dumps({"hello": HELLO, "problem": problem}).encode() + b"\n"
                )
                if problem:
                    connection.setblocking(False)
                    del self.numbers[connection]

    def _part(self) -> None:
        """Let the others close first, so that the port is free at once."""
        for connection in self.numbers:
            with suppress(OSError):
                connection.settimeout(2)
                connection.recv(1)


# --- the others


def _answer(address: str, own: Call, deadline: float, timeout: float) -> None:
    """Say who this is, and wait for what process 0 says.

    Raises:
        JoinError: if it refuses the job, or is not reached.
    """
    port = split_address(address)[1]
    why = "nobody there"
    while time.monotonic() < deadline:
        for family, ip in _resolve(address, deadline):
            try:
                found = _exchange(family, ip, port, own, deadline)
            except (OSError, ValueError) as error:
                refused = isinstance(error, ConnectionRefusedError)
                why = "nobody there" if refused else "no answer of a process 0"
                continue
            if found:
                raise JoinError(found)
            return
        time.sleep(min(PAUSE, max(deadline - time.monotonic(), 0)))
    raise JoinError(
        f"join: process 0 must answer at {address} within {timeout:g} s; got {why}. Start it there,"
        " or wait longer by --join-timeout."
    )


def _resolve(address: str, deadline: float) -> list[tuple[int, str]]:
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


def _exchange(family: int, ip: str, port: int, own: Call, deadline: float) -> str:
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
