"""Ctrl-C and SIGTERM end a command alike; what was lost is raised again, what was not is not."""

from __future__ import annotations

import contextlib
import signal
import threading

import pytest

from omnitrace.cli.stops import Stops, Terminated

SIGNALS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


pytestmark = pytest.mark.usefixtures("usual_signals")


@pytest.mark.parametrize("number", SIGNALS)
def test_what_was_lost_is_raised_at_the_next_check(number: signal.Signals) -> None:
    stops = Stops()
    with stops.taken():
        stops.check()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(number)
        with pytest.raises(SIGNALS[number]) as raised:
            stops.check()
        assert type(raised.value) is SIGNALS[number]
    with stops.taken():
        stops.check()  # another command


def test_handlers_of_others_stay() -> None:
    seen: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    with Stops().taken():
        signal.raise_signal(signal.SIGINT)
    assert seen == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is not handler


def test_what_was_before_is_there_again() -> None:
    with Stops().taken():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_thread_takes_no_signals() -> None:
    def enter() -> None:
        with Stops().taken():
            handlers.append(signal.getsignal(signal.SIGTERM))

    handlers: list[object] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.SIG_DFL]
