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
_WELL = bytes([255])  # no signal's number


class Signals:
    """Takes the signals in a thread of its own, so that they act even while the program hangs.

    *on_first* is called with the first signal, in a thread that may hang. A second one ends the
    process at once. When the process is still there *patience_s* after the first, or after
    `ending`, *on_late* is called with that and the process ended: nothing that hangs, a plugin's
    write or whoever reads standard error, can keep it. So it is when before that `keep` was not
    called for *silence_s*; None: it need not be. All of this is as safe as being killed.
    """

    def __init__(
        self,
        on_first: Callable[[signal.Signals], None],
        on_late: Callable[[float], None],
        *,
        patience_s: float,
        silence_s: float | None = None,
    ) -> None:
        self._on_first = on_first
        self._on_late = on_late
        self._patience_s = patience_s
        self._silence_s = silence_s
        self._first: signal.Signals | None = None
        self._is_ending = False
        self._deadline: float | None = None
        self._allowed_s = 0.0

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
        self._outbox.send(_WELL)
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
                    _aside(self._on_late, self._allowed_s).join(SAYING_S)
                    os._exit(ExitCode.GAVE_UP)
                if not received:
                    return
                if received[0] in CODES:
                    self._take(signal.Signals(received[0]))
                elif received == _ENDING:
                    self._end_soon()
                elif received == _WELL and self._silence_s is not None and not self._is_ending:
                    self._allow(self._silence_s)
                if self._deadline is not None:
                    self._inbox.settimeout(max(self._deadline - time.monotonic(), 0.001))

    def _take(self, number: signal.Signals) -> None:
        if self._first is not None:
            os._exit(CODES[number])
        self._first = number
        self._end_soon()
        _aside(self._on_first, number)

    def _end_soon(self) -> None:
        """Let the process take *patience_s*, from the first time on that this is said."""
        if not self._is_ending:
            self._is_ending = True
            self._allow(self._patience_s)

    def _allow(self, limit_s: float) -> None:
        """Let that be how long the process may still take."""
        self._allowed_s, self._deadline = limit_s, time.monotonic() + limit_s


def _aside(call: Callable[..., None], *arguments: object) -> threading.Thread:
    """Call what says something where it may hang: standard error may lead to a full pipe."""
    thread = threading.Thread(target=call, args=arguments, name=NAME, daemon=True)
    thread.start()
    return thread


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the thread has heard of it."""
