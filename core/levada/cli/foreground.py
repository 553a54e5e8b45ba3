"""A command's work in the foreground: signals end it, and so does time; what does not end is named."""

import faulthandler
import logging
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from click.exceptions import Exit

from levada.cli import logs, loop
from levada.cli.console import Console
from levada.cli.signals import CODES, Signals
from levada.cli.text import safe, seconds
from levada.host import Host

log: logging.Logger = logging.getLogger("levada.cli")

T = TypeVar("T")

KEEP_S = 1.0
"""How often to look whether a plugin has taken the signals."""

GRACE_S = 1.0
"""What the process gets beyond `shutdown_timeout` to end by itself."""


def run(
    work: Coroutine[Any, Any, T],
    host: Host,
    console: Console,
    *,
    stop: Callable[[], None] | None = None,
    silence: timedelta | None = None,
) -> T:
    """Run *work*, whose connectors are those of *host*, to its end.

    At the first signal it is asked to *stop*, and has `shutdown_timeout` to end, with all that
    plugins began in it. Without *stop* it is cancelled then, and what plugins began is left behind
    at its end. A loop that does not turn for as long as *silence* ends the process; None: it may.

    Raises:
        Exit: it was cancelled for a signal.
    """
    return _Foreground(host, console, stop, silence).run(work)


class _Foreground:
    def __init__(
        self,
        host: Host,
        console: Console,
        stop: Callable[[], None] | None,
        silence: timedelta | None,
    ) -> None:
        self._host = host
        self._console = console
        self._stop = stop
        self._code: int | None = None
        # Not whatever loop a plugin has made the usual one: it may take the signals for itself.
        self._loop = loop.Loop()
        self._signals = Signals(
            self._stopping,
            self._late,
            patience_s=host.settings.shutdown_timeout.total_seconds() + GRACE_S,
            silence_s=None if silence is None else silence.total_seconds(),
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        self._main = self._loop.create_task(work)
        with self._signals:
            self._keep()
            try:
                loop.run(self._main, self._loop)
            finally:
                self._signals.ending()  # what a plugin left behind must not keep the process
                loop.close(self._loop, patient=self._stop is not None)
        if self._main.cancelled() and self._code is not None:
            raise Exit(self._code)
        return loop.result_of(self._main)

    def _keep(self) -> None:
        if self._signals.keep():
            log.warning("a plugin took the signals of this process; they are levada's again")
        self._loop.call_later(KEEP_S, self._keep)

    def _stopping(self, number: signal.Signals) -> None:
        """Ask the work to end; called from the thread of the signals."""
        if self._stop is None:
            self._code = CODES[number]
            self._loop.call_soon_threadsafe(self._main.cancel)
            return
        self._loop.call_soon_threadsafe(self._stop)
        again = "Ctrl-C again ends" if number == signal.SIGINT else "a second signal ends"
        self._console.line(
            f"stopping: finishing what is being written ({again} it at once)."
            " Resume with the same command."
        )

    def _late(self, waited_s: float) -> None:
        """Name what does not end; called from the thread of the signals, just before the end."""
        what = " and ".join(self._stuck()) or "a connector"
        self._console.live("")
        self._console.line(
            safe(f"levada: {what} did not end in {seconds(waited_s)}; ending without it.")
            + " Nothing is lost: run the same command again."
        )
        if logs.is_debugging():
            faulthandler.dump_traceback()

    def _stuck(self) -> Sequence[str]:
        """Return what holds the loop up or, if nothing does, all that are at work."""
        busy = [each for each in self._host.contexts if each.busy or each.threads]
        modules = _running_modules()
        blocking = [each for each in busy if type(each.connector).__module__ in modules]
        return [each.title for each in blocking or busy]


def _running_modules() -> set[str]:
    """Return the modules whose code the main thread, the loop's, is in at this moment."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001  # no other way
    modules = set()
    while frame is not None:
        modules.add(str(frame.f_globals.get("__name__")))
        frame = frame.f_back
    return modules
