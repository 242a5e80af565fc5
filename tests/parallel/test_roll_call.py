"""The roll-call, by real sockets: each process of a job is a thread here."""

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gradtx.parallel import call as calls_module
from gradtx.parallel import roll_call
from gradtx.parallel.call import Call, JoinError, differences, split_address
from gradtx.parallel.roll_call import call_roll


def free_port():
    """One below those that the system gives out, so that nobody is given it in between."""
    for port in range(20000 + os.getpid() % 10000, 32768):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(roll_call, "GRACE", 0.3)
    for module in (roll_call, calls_module):
        monkeypatch.setattr(module, "PAUSE", 0.02)
    monkeypatch.setattr(roll_call, "REFUSING", 0.5)


def tell(*calls, host="127.0.0.1", port=None, timeout=20.0, after=()):
    """What each process is told: where to listen, None, or the message of its error."""
    said = []
    address = f"{host}:{port or free_port()}"

    def one(number, call):
        time.sleep(after[number] if after else 0)
        try:
            return call_roll(address, call, timeout=timeout, say=said.append)
        except JoinError as error:
            return str(error)

    with ThreadPoolExecutor(len(calls)) as pool:
        return [*pool.map(one, range(len(calls)), calls)], said, address


def test_all_there_go_on_and_the_first_listens_where_it_was_told():
    for after in ((0, 0.1, 0), (0.1, 0, 0)):
        told, said, address = tell(*(Call(i, 3, {"--lr": "1"}) for i in range(3)), after=after)
        assert told == [address, None, None] and said == []
        with socket.create_server(("127.0.0.1", split_address(address)[1])):
            pass  # the port is free at once, for JAX


@pytest.mark.parametrize("after", [(0, 0.1), (0.1, 0)])
def test_options_that_differ_are_named_to_all(after):
    calls = Call(0, 2, {"--lr": "0.1", "--epochs": "3"}), Call(1, 2, {"--lr": "0.2"})
    told, _, _ = tell(*calls, after=after)
    assert told[0] == told[1]
    assert told[0] == (
        "join: all processes must be started with the same options; got other ones: process 1 was"
        " started with --lr 0.2 (process 0: 0.1), --epochs none (process 0: 3). Start all with the"
        " same, but for --process-id."
    )


def test_counts_that_differ_are_named_to_all():
    told, _, _ = tell(Call(0, 2), Call(1, 3))
    assert told[0] == told[1]
    assert "process 1 was started with --processes 3 and process 0 with 2" in told[0]


@pytest.mark.parametrize("numbers", [(0, 1, 1), (0, 0), (0, 0, 1)])
@pytest.mark.parametrize("more", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_a_number_that_two_processes_have_is_named_to_all(numbers, more):
    calls = [Call(number, len(set(numbers)) + more) for number in numbers]
    told, _, _ = tell(*calls, after=[0.1 * i for i in range(len(calls))], timeout=3)
    twice = max(numbers, key=numbers.count)
    first = [text for text in told if f"got {twice} twice" in str(text)]
    # One that comes when all has been said is told that nobody is there.
    assert len(first) >= 2 and all(str(text).startswith("join: ") for text in told), told


def test_a_process_that_is_missing_is_named_to_all_in_time():
    begin = time.monotonic()
    told, _, _ = tell(Call(0, 4), Call(2, 4), timeout=1)
    assert time.monotonic() - begin < 1.5
    assert told[0] == told[1]
    assert "4 processes must come within 1 s; got 2, without number 1, 3" in told[0]


def test_a_number_of_processes_that_nobody_has_is_refused_in_time():
    begin = time.monotonic()
    told, _, _ = tell(Call(0, 2**40), timeout=0.3)
    assert time.monotonic() - begin < 1
    assert "got 1, without number 1, 2, 3, 4, 5, 6, 7, 8, ..." in told[0]


def test_a_refusal_does_not_outlast_the_time(monkeypatch):
    monkeypatch.setattr(roll_call, "REFUSING", 10)
    begin = time.monotonic()
    told, _, _ = tell(Call(0, 3, {"--lr": "1"}), Call(1, 3, {"--lr": "2"}), timeout=1)
    assert time.monotonic() - begin < 1.5
    assert told[0] == told[1] and "--lr 2 (process 0: 1)" in told[0]


def test_without_the_first_process_the_others_end_in_time():
    begin = time.monotonic()
    (told,), _, address = tell(Call(1, 2), timeout=0.5)
    assert time.monotonic() - begin < 1
    assert f"must answer at {address} within 0.5 s; got nobody there" in told


def test_a_host_without_an_address_is_named_in_all():
    told, _, _ = tell(Call(0, 2), Call(1, 2), host="no.such.host.invalid", timeout=0.3)
    for text in told:
        assert "got no.such.host.invalid:" in text and "whose host has no address" in text


def test_a_port_that_is_used_is_named_in_all():
    with socket.create_server(("127.0.0.1", free_port())) as other:
        port = other.getsockname()[1]
        told, _, _ = tell(Call(0, 2), Call(1, 2), port=port, timeout=0.5)
    assert "join: port" in told[0] and "another program uses" in told[0]
    assert "got no answer of a process 0" in told[1]


def test_an_address_of_another_machine_is_named():
    (told,), _, _ = tell(Call(0, 2), host="192.0.2.1", timeout=0.3)  # kept for documentation
    assert "must be an address of the machine of process 0; got 192.0.2.1:" in told


def test_a_name_that_only_this_machine_can_reach_is_listened_for_everywhere(monkeypatch):
    real = socket.getaddrinfo
    as_local = lambda host, *rest, **more: real(
        "127.0.0.1" if host == "node0" else host, *rest, **more
    )
    monkeypatch.setattr(socket, "getaddrinfo", as_local)
    told, said, address = tell(Call(0, 2), Call(1, 2), host="node0")
    port = split_address(address)[1]
    assert told[0] in (f"[::]:{port}", f"0.0.0.0:{port}") and told[1] is None
    assert "listens on all interfaces" in said[0] and "node0 is this machine's own" in said[0]


def test_strangers_on_the_port_are_not_counted():
    """Another program that calls, with noise or with nothing."""
    port = free_port()

    def disturb():
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"{}\n", b"[[\n", b"\xff\n", b""):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), 2) as s,
            ):
                s.sendall(data)
        kept.append(socket.create_connection(("127.0.0.1", port), 2))

    kept = []
    stranger = threading.Timer(0.2, disturb)
    stranger.start()
    told, _, address = tell(Call(0, 2), Call(1, 2), port=port, after=(0, 0.5))
    stranger.join()
    [sock.close() for sock in kept]
    assert told == [address, None]


def test_a_process_that_leaves_and_comes_back_is_counted_once():
    port = free_port()

    def come_and_go():
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.sendall(
                b'{"hello": "gradtx roll-call 1", "process_id": 1, "processes": 2, "options": {}}\n'
            )
            time.sleep(0.1)

    killed = threading.Timer(0.1, come_and_go)
    killed.start()
    told, _, address = tell(Call(0, 2), Call(1, 2), port=port, after=(0, 0.6))
    assert told == [address, None]


def test_differences_are_those_from_the_first():
    calls = {0: Call(0, 2, {"--a": "1"}), 1: Call(1, 2, {"--a": "1"})}
    assert differences(calls) == ""
    more = calls | {1: Call(1, 2, {"--a": "1", "--b": "x"})}
    assert differences(more) == "process 1 was started with --b x (process 0: none)"
