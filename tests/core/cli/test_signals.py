"""In this process only what leaves it alive; how a signal ends it is in tests/integration."""

import os
import signal
import threading

from levada.cli.signals import Signals


def test_the_first_signal_is_told_once_from_another_thread() -> None:
    told = threading.Event()
    threads = set[str]()

    def first(number: signal.Signals) -> None:
        assert number is signal.SIGTERM
        threads.add(threading.current_thread().name)
        told.set()

    with Signals(first, lambda _: None, patience_s=60):
        os.kill(os.getpid(), signal.SIGTERM)
        assert told.wait(5)

    assert threads == {"levada-signals"}


def test_the_handlers_of_before_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    with Signals(lambda _: None, lambda _: None, patience_s=1):
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    assert during != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
