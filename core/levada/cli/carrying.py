"""Run a pipeline in the foreground, and show its progress."""

import asyncio
from collections.abc import Iterable

from levada.cli import foreground, output, setups
from levada.cli.console import Console
from levada.cli.progress import Progress
from levada.pipeline import Pipeline
from levada.report import Report
from levada.setup import Setup


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
    work = run.carry(
        show=not quiet, follow=follow, limit=limit, accept_identity_change=accept_identity_change
    )
    return foreground.run(work, run.pipeline.host, console, stop=run.pipeline.stop)


class _Run:
    def __init__(self, setup: Setup, console: Console, hints: Iterable[tuple[str, str]]) -> None:
        self.pipeline = Pipeline(setup)
        for source, partition in hints:
            self.pipeline.hint(source, partition)
        self._console = console
        self._live = console.is_terminal and _leaves_room(setup)
        # Where events and progress would mix on one screen, the events are the progress.
        self._shown = self._live or not console.is_terminal

    async def carry(
        self, *, show: bool, follow: bool, limit: int | None, accept_identity_change: bool
    ) -> Report:
        progress = Progress(self.pipeline, self._console, live=self._live)
        showing = asyncio.create_task(progress.run()) if show and self._shown else None
        try:
            return await self.pipeline.run(
                follow=follow, limit=limit, accept_identity_change=accept_identity_change
            )
        finally:
            if showing is not None:
                showing.cancel()
                await asyncio.wait([showing])


def _leaves_room(setup: Setup) -> bool:
    """Return whether no sink prints to where the live line would be."""
    return output.is_file() or not setups.prints(setup)
