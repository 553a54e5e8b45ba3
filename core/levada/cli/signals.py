"""SIGINT and SIGTERM: the first asks for an end, the second is one, and no end takes for ever."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Self

from levada.cli.exit_codes import ExitCode

CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
}


NAME = "levada-signals"  # of our threads

SAYING_S = 0.5
"""How long the last words may take."""

_ENDING = b"\0"


class Signals:
    """Takes the signals in a thread of its own, so that they act even while the program hangs.

    *on_first* is called with the first signal, in a thread that may hang. A second one ends the
    process at once. When the process is still there *patience_s* after the first, or after
    `ending`, *on_late* is called and the process ended: nothing that hangs, a plugin's write or
    whoever reads standard error, can keep it. All of this is as safe as being killed.
    """

    def __init__(
        self,
        on_first: Callable[[signal.Signals], None],
        on_late: Callable[[], None],
        *,
        patience_s: float,
    ) -> None:
        self._on_first = on_first
        self._on_late = on_late
        self._patience_s = patience_s
        self._first: signal.Signals | None = None
        self._deadline: float | None = None

    def __enter__(self) -> Self:
        """Take the signals over; only from the main thread."""
        self._inbox, outbox = socket.socketpair()
        outbox.setblocking(False)
        self._outbox = outbox
        self._before = {number: signal.signal(number, _noted) for number in CODES}
        # The C handler writes the signal's number there, whatever Python is doing.
        self._fd_before = signal.set_wakeup_fd(outbox.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name=NAME, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._outbox.close()

    def keep(self) -> bool:
        """Take the signals back, should somebody have taken them; return whether somebody had.

        Only from the main thread, now and then: nothing tells when a plugin does that.
        """
        mine = self._outbox.fileno()
        taken = signal.set_wakeup_fd(mine, warn_on_full_buffer=False) != mine
        for number in CODES:
            if signal.getsignal(number) is not _noted:
                signal.signal(number, _noted)
                taken = True
        blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, CODES)
        return taken or not blocked.isdisjoint(CODES)

    def ending(self) -> None:
        """Say that nothing is left to do: from now on the process may take *patience_s* to end."""
        self._outbox.send(_ENDING)

    def _watch(self) -> None:
        with self._inbox:
            while True:
                try:
                    received = self._inbox.recv(1)
                except TimeoutError:
                    _aside(self._on_late).join(SAYING_S)
                    os._exit(ExitCode.GAVE_UP)
                if not received:
                    return
                if received[0] in CODES:
                    self._take(signal.Signals(received[0]))
                elif received == _ENDING and self._deadline is None:
                    self._deadline = time.monotonic() + self._patience_s
                if self._deadline is not None:
                    self._inbox.settimeout(max(self._deadline - time.monotonic(), 0.001))

    def _take(self, number: signal.Signals) -> None:
        if self._first is not None:
            os._exit(CODES[number])
        self._first = number
        self._deadline = self._deadline or time.monotonic() + self._patience_s
        _aside(self._on_first, number)


def _aside(call: Callable[..., None], *arguments: object) -> threading.Thread:
    """Call what says something where it may hang: standard error may lead to a full pipe."""
    thread = threading.Thread(target=call, args=arguments, name=NAME, daemon=True)
    thread.start()
    return thread


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the thread has heard of it."""
