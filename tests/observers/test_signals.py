"""A signal asks a fit to stop; a second one does what it always did."""

import os
import signal

import pytest

from gradtx.observers import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_and_the_second_is_as_before(number):
    got = []
    before = signal.signal(number, lambda *args: got.append(args[0]))
    mine = signal.getsignal(number)
    try:
        with stop_on_signals() as stop:
            assert not stop(1)
            os.kill(os.getpid(), number)
            assert stop(2) and stop(3) and got == []
            os.kill(os.getpid(), number)
            assert got == [number]
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, before)


def test_without_a_signal_all_is_as_it_was_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyError), stop_on_signals():
        raise KeyError
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
