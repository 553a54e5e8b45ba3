"""In this process only what leaves it alive; tests/plugin_faults has what ends it."""

import signal
import time
from contextlib import suppress

import pytest

from levada import PluginError
from levada.overdue import Overdue, time_limit


def blame(reason: str) -> PluginError:
    return PluginError("slow", reason)


def test_what_takes_longer_is_interrupted() -> None:
    with pytest.raises(Overdue, match=r"took longer than 0\.05 s"), time_limit(0.05, blame):
        time.sleep(60)


def test_what_swallows_one_interruption_is_interrupted_again() -> None:
    def swallow_one() -> None:
        with suppress(BaseException):
            time.sleep(60)
        time.sleep(60)

    with pytest.raises(Overdue), time_limit(0.05, blame):
        swallow_one()


def test_one_inside_another_leaves_it_its_time() -> None:
    def inside() -> None:
        with time_limit(60, blame):
            time.sleep(0.01)
        time.sleep(60)

    with pytest.raises(Overdue, match=r"took longer than 0\.2 s"), time_limit(0.2, blame):
        inside()


def test_of_two_that_are_due_at_once_the_inner_one_is_told() -> None:
    def inside() -> None:
        with pytest.raises(Overdue, match=r"longer than 0\.21 s"), time_limit(0.21, blame):
            time.sleep(60)
        time.sleep(0.1)

    with time_limit(0.2, blame):
        inside()


def test_the_handlers_of_before_come_back() -> None:
    before = signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT)

    with suppress(Overdue), time_limit(0.05, blame):
        time.sleep(60)

    assert (signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGINT)) == before


def test_an_interrupt_is_only_the_users_where_he_has_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt), time_limit(60, blame):
        signal.raise_signal(signal.SIGINT)

    with (
        pytest.raises(PluginError, match="raised KeyboardInterrupt, though"),
        time_limit(60, blame),
    ):
        raise KeyboardInterrupt
