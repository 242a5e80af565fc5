"""A roll-call of the processes of a job, by plain sockets, before JAX is asked to connect them.

JAX's own runtime waits for what never comes, aborts without a word, and does not know with which
options a process was started. Here process 0 listens on the coordinator's port; each of the others
says who it is, and all are told the same: go on, or the one line that says why not.
"""

import errno
import ipaddress
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gradtx.parallel.call import (
    MOST,
    PAUSE,
    Call,
    JoinError,
    answer,
    differences,
    exchange,
    parsed,
    resolve,
    split_address,
)

GRACE = 1.0  # seconds for which process 0 listens when all have come, for one too many
REFUSING = 10.0  # seconds for which it tells those who come later that it has refused the job


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
    found = resolve(address, deadline)
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
        for family, ip in resolve(address, deadline):
            soon = min(deadline, time.monotonic() + 2)
            found = exchange(family, ip, split_address(address)[1], own, soon)
            if found:
                raise JoinError(found)


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
                    more = REFUSING if self.problem else GRACE
                    end = min(end, time.monotonic() + more)
            if len(self.calls) < self.own.processes and not self.problem:
                self.problem = self._absent()
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
            if found := parsed(self.heard[connection]):
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

    def _absent(self) -> str:
        missing = (n for n in range(self.own.processes) if n not in self.calls)
        some = [*map(str, islice(missing, 9))]
        some[8:] = ["..."] * (len(some) > 8)
        return (
            f"join: {self.own.processes} processes must come within {self.timeout:g} s; got"
            f" {len(self.calls)}, without number {', '.join(some)}. Start those too, or wait longer"
            " by --join-timeout."
        )

    def _tell(self, problem: str) -> None:
        """Give the answer to all who have called and have none."""
        for connection in [*self.numbers]:
            with suppress(OSError):
                connection.setblocking(True)
                connection.settimeout(5)
                connection.sendall(answer(problem))
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
        for family, ip in resolve(address, deadline):
            try:
                found = exchange(family, ip, port, own, deadline)
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
