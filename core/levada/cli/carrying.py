"""Run a pipeline in the foreground: its signals, its progress, its end."""

import asyncio
import faulthandler
import logging
import signal
import sys
import threading
from collections.abc import Iterable

from levada.cli import logs, loop, output, setups
from levada.cli.console import Console
from levada.cli.progress import Progress
from levada.cli.signals import Signals
from levada.cli.text import safe, seconds
from levada.connector import Connector
from levada.pipeline import Pipeline
from levada.report import Report
from levada.setup import Setup

log: logging.Logger = logging.getLogger("levada.cli")

KEEP_S = 1.0
"""How often to look whether a plugin has taken the signals."""

GRACE_S = 1.0
"""What the process gets beyond `shutdown_timeout` to end by itself."""


def carry(
    setup: Setup,
    console: Console,
    *,
    follow: bool = False,
    limit: int | None = None,
    hints: Iterable[tuple[str, str]] = (),
    accept_identity_change: bool = False,
    quiet: bool = False,
) -> Report:
    """Run *setup* to its end or to the first signal; with *quiet* without showing progress.

    *hints* are what `Pipeline.hint` takes: a source and a partition each.

    Raises:
        ConfigError, StateError: as `Pipeline.run`.
    """
    run = _Run(setup, console, hints)
    signals = Signals(run.stopping, run.late, patience_s=run.patience_s)
    # Not whatever loop a plugin has made the usual one: it may take the signals for itself.
    with signals, asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        run.loop = runner.get_loop()
        run.loop.call_soon(_keep, signals, run.loop)
        try:
            return loop.run(
                run.carry(
                    show=not quiet,
                    follow=follow,
                    limit=limit,
                    accept_identity_change=accept_identity_change,
                ),
                runner,
            )
        finally:
            signals.ending()  # what a plugin left behind must not keep the process


def _keep(signals: Signals, loop: asyncio.AbstractEventLoop) -> None:
    if signals.keep():
        log.warning("a plugin took the signals of this process; they are levada's again")
    loop.call_later(KEEP_S, _keep, signals, loop)


class _Run:
    def __init__(self, setup: Setup, console: Console, hints: Iterable[tuple[str, str]]) -> None:
        self._pipeline = Pipeline(setup)
        for source, partition in hints:
            self._pipeline.hint(source, partition)
        self._console = console
        self._live = console.is_terminal and _leaves_room(setup)
        # Where events and progress would mix on one screen, the events are the progress.
        self._shown = self._live or not console.is_terminal
        self.patience_s = setup.settings.shutdown_timeout.total_seconds() + GRACE_S
        self.loop: asyncio.AbstractEventLoop | None = None

    async def carry(
        self, *, show: bool, follow: bool, limit: int | None, accept_identity_change: bool
    ) -> Report:
        progress = Progress(self._pipeline, self._console, live=self._live)
        showing = asyncio.create_task(progress.run()) if show and self._shown else None
        try:
            return await self._pipeline.run(
                follow=follow, limit=limit, accept_identity_change=accept_identity_change
            )
        finally:
            if showing is not None:
                showing.cancel()
                await asyncio.wait([showing])

    def stopping(self, number: signal.Signals) -> None:
        """Ask the pipeline to end; called from the thread of the signals."""
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self._pipeline.stop)
        again = "Ctrl-C again ends" if number == signal.SIGINT else "a second signal ends"
        self._console.line(
            f"stopping: finishing what is being written ({again} it at once)."
            " Resume with the same command."
        )

    def late(self) -> None:
        """Name what does not end; called from the thread of the signals, just before the end."""
        what = " and ".join(self._stuck()) or "a connector"
        self._console.live("")
        self._console.line(
            safe(f"levada: {what} did not end in {seconds(self.patience_s)}; ending without it.")
            + " Nothing is lost: run the same command again."
        )
        if logs.is_debugging():
            faulthandler.dump_traceback()

    def _stuck(self) -> list[str]:
        """Return what holds the loop up or, if nothing does, all whose calls have not returned."""
        drains = [it for it in self._pipeline.drains if it.busy]
        intakes = [it for it in self._pipeline.intakes if it.busy]
        busy: dict[str, Connector] = {f"sink '{it.setup.name}'": it.setup.sink for it in drains}
        busy |= {f"source '{it.setup.name}'": it.setup.source for it in intakes}
        modules = _running_modules()
        blocking = [name for name, it in busy.items() if type(it).__module__ in modules]
        return blocking or list(busy)


def _running_modules() -> set[str]:
    """Return the modules whose code the main thread, the loop's, is in at this moment."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001  # no other way
    modules = set()
    while frame is not None:
        modules.add(str(frame.f_globals.get("__name__")))
        frame = frame.f_back
    return modules


def _leaves_room(setup: Setup) -> bool:
    """Return whether no sink prints to where the live line would be."""
    return output.is_file() or not setups.prints(setup)
