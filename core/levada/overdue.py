"""A limit for calls that nobody can await: what a plugin does when it is imported and built."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

LIMIT_S: Final = 10.0


class Overdue(BaseException):
    """Not an Exception, so that no ``except Exception`` in a plugin swallows it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Overdue` in what takes longer; in the main thread only.

    Signals, the one way to interrupt a call, arrive there alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signum: int, _frame: FrameType | None) -> None:
        raise Overdue(f"took longer than {seconds:g} s")

    handler = signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        unused, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        if left:  # somebody else's alarm, still due
            signal.setitimer(signal.ITIMER_REAL, max(left - seconds + unused, 0.001), interval)
