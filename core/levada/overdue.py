"""A limit for calls that nobody can await: what a plugin does when it is imported and built."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

LIMIT_S: Final = 10.0

AGAIN_S: Final = 1.0
"""How long after `Overdue` it is raised again, in what goes on nonetheless."""

MOST: Final = 5
"""How often it is raised before the process is ended."""

PLUGIN: Final = 3
"""As in `levada.cli.exit_codes`: a plugin is broken."""


class Overdue(BaseException):
    """Not an Exception, so that no ``except Exception`` in a plugin swallows it."""


@contextmanager
def time_limit(seconds: float, blame: Callable[[str], Exception]) -> Iterator[None]:
    """Raise `Overdue` in what takes longer; in the main thread only.

    Signals, the one way to interrupt a call, arrive there alone. What swallows one after the
    other cannot be ended: then the process is, with what *blame* makes of the reason as its last
    words.

    Raises:
        Exception: what *blame* makes of a `KeyboardInterrupt` that was no Ctrl-C.
    """
    with _interrupts_of_the_user(blame):
        if threading.current_thread() is threading.main_thread():
            with _alarm(seconds, blame):
                yield
        else:
            yield


@contextmanager
def _interrupts_of_the_user(blame: Callable[[str], Exception]) -> Iterator[None]:
    """Let no `KeyboardInterrupt` out that no signal was the cause of."""
    told = False
    before = signal.getsignal(signal.SIGINT)

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        if callable(before):
            before(signum, frame)

    is_main = threading.current_thread() is threading.main_thread()
    if is_main and callable(before):
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except KeyboardInterrupt as error:
        if told:
            raise
        raise blame("raised KeyboardInterrupt, though nobody interrupted it") from error
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _alarm(seconds: float, blame: Callable[[str], Exception]) -> Iterator[None]:
    raised = 0

    def stop(_signum: int, _frame: FrameType | None) -> None:
        nonlocal raised
        if raised == MOST:
            _end(blame(f"took longer than {seconds:g} s and swallows every exception"))
        raised += 1
        raise Overdue(f"took longer than {seconds:g} s")

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        if left:  # somebody else's alarm, still due
            left -= time.monotonic() - began
            least = AGAIN_S if raised else 0.001  # what we have raised is to be told first
            signal.setitimer(signal.ITIMER_REAL, max(left, least), interval)


def _end(error: Exception) -> None:
    """End the process at once; nothing is under way yet that could be lost."""
    text = "".join(each if each.isprintable() else "?" for each in str(error))
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a plugin may have put anything there
            stream.flush()
    with suppress(OSError):
        os.write(2, f"levada: {text}\n".encode(errors="backslashreplace"))
    os._exit(PLUGIN)
