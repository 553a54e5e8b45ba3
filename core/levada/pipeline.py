"""A pipeline: sources into the journal, the journal into sinks."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from levada.drain import Drain
from levada.errors import ConfigError, LevadaError, PluginError, SourceError, first_of
from levada.host import Host
from levada.intake import Intake
from levada.journal import Journal
from levada.report import Ending, Report
from levada.retry import backoff
from levada.setup import Setup

log: logging.Logger = logging.getLogger("levada.pipeline")

PRUNE_EVERY_S = 60
TIDY_S = 1.0  # of pruning at the end of a run
STALL_CHECK_S = 0.2
GRACE = 0.75  # of the shutdown timeout, for writes under way to end by themselves


class Pipeline:
    """Runs a `Setup`, once until everything is delivered or for ever. One object, one run."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.intakes: list[Intake] = []
        self.drains: list[Drain] = []
        self.host: Host = Host(setup.settings)  # what its connectors share
        self._ending: Ending = "done"
        self._final: Report | None = None
        self._started = time.monotonic()
        self._stopped_at: float | None = None
        self._to_close: list[Intake | Drain] = []
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._limit: int | None = None
        self._enough = asyncio.Event()
        self._hints: list[tuple[str, str]] = []

    def stop(self) -> None:
        """Ask the run to end: reads are dropped, writes under way end, the rest stays pending."""
        self._ending = "stopped"
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()
        self._stop.set()

    def hint(self, source: str, partition: str) -> None:
        """Have a partition of the source called *source* read at once, whatever its list shows.

        Before `run` it is part of the first pass; with `follow` a pass begins for it. From the
        thread of the loop.

        Raises:
            ConfigError: the pipeline has no source of that name.
        """
        names = [each.name for each in self.setup.sources]
        if source not in names:
            raise ConfigError(f"there is no source '{source}'; the sources: {', '.join(names)}")
        self._hints.append((source, partition))
        for intake in self.intakes:
            if intake.setup.name == source:
                intake.hint(partition)

    def report(self) -> Report:
        """Tell what was done so far; may be called at any time, from the same thread."""
        return self._final or Report(
            sources=[intake.report() for intake in self.intakes],
            sinks=[drain.report() for drain in self.drains],
            ending=self._ending,
            seconds=time.monotonic() - self._started,
            diagnostics=dict(self.host.diagnostics.counts),
        )

    async def run(
        self,
        *,
        follow: bool = False,
        limit: int | None = None,
        accept_identity_change: bool = False,
    ) -> Report:
        """Carry events until the sources are caught up and every sink has everything.

        Args:
            follow: Go on for ever, until `stop()`.
            limit: Stop reading after the batch that reaches this many new events.
            accept_identity_change: Let connectors go on elsewhere under their old names.

        Raises:
            ConfigError: a sink cannot work as it is configured; nothing was requested.
            StateError: the journal cannot be used; nothing was requested.
        """
        self._limit = limit
        if not follow:
            self._refuse_live_sources()
        async with self._opened(patient=follow, accept=accept_identity_change) as journal:
            if not self._stop.is_set():
                await self._carry(journal, follow=follow)
            await self._close()
            await self._tidy(journal)
            await journal.note(self.host.diagnostics.take())
            self._final = self.report()
        return self._final

    async def _carry(self, journal: Journal, *, follow: bool) -> None:
        async with self._draining(journal):
            readers = [self._read(intake, journal, follow=follow) for intake in self.intakes]
            enough = [self._enough.wait(), *([] if follow else [self._stalled(journal)])]
            await self._until(readers, enough)
            if self._ending == "done":
                await self._until([self._deliver()])

    def _refuse_live_sources(self) -> None:
        live = [each.name for each in self.setup.sources if each.source.live]
        if live:
            raise ConfigError(f"source '{live[0]}' never ends by itself; run with --follow")

    @asynccontextmanager
    async def _opened(self, *, patient: bool, accept: bool) -> AsyncIterator[Journal]:
        """Open everything, sinks first: a sink that cannot work ends the run before any request."""
        settings = self.setup.settings
        async with AsyncExitStack() as stack:
            journal = await stack.enter_async_context(Journal(settings))
            host = self.host
            host.patient = patient
            stack.push_async_callback(host.close)
            stack.push_async_callback(self._close)
            # Who reads or writes elsewhere than before is refused before anybody touches anything.
            states = [
                await journal.source(source, accept_identity_change=accept)
                for source in self.setup.sources
            ]
            cursors = [
                await journal.cursor(sink, accept_identity_change=accept)
                for sink in self.setup.sinks
            ]
            for sink, cursor in zip(self.setup.sinks, cursors, strict=True):
                drain = Drain(sink, cursor, host, self._changed)
                self._to_close.append(drain)
                self.drains.append(drain)  # before it opens: it may be asked for what hangs
                await self._until([drain.open()])
            journal.warn_of_removed_sinks()
            for source, state in zip(self.setup.sources, states, strict=True):
                intake = Intake(source, state, host, on_kept=self._kept)
                self._to_close.append(intake)
                self.intakes.append(intake)
                for _, partition in (each for each in self._hints if each[0] == source.name):
                    intake.hint(partition)
            yield journal

    @asynccontextmanager
    async def _draining(self, journal: Journal) -> AsyncIterator[None]:
        """Keep the drains and the pruning going; at the end let writes under way end."""
        drains = [asyncio.create_task(drain.run()) for drain in self.drains]
        chores = asyncio.create_task(self._prune(journal))
        try:
            yield
        finally:
            chores.cancel()
            for drain in self.drains:
                drain.stop()
            await asyncio.gather(chores, self._end(drains), return_exceptions=True)

    async def _until(
        self,
        works: Sequence[Coroutine[Any, Any, object]],
        reasons: Sequence[Coroutine[Any, Any, object]] = (),
    ) -> None:
        """Do all works, but end them at one of the reasons, a stop, or when no sink is left."""
        working = asyncio.create_task(_together(works))
        endings = [self._stop.wait(), self._sinks_over(), *reasons]
        ends = [asyncio.create_task(_together([ending])) for ending in endings]
        try:
            await asyncio.wait({working, *ends}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, *ends):
                task.cancel()
            ended, _ = await asyncio.wait((working, *ends), timeout=self._left_s(GRACE))
            for intake in self.intakes if working not in ended else ():
                if intake.busy:
                    log.warning("source '%s' did not end; leaving it behind", intake.setup.name)
        for task in (each for each in (working, *ends) if each in ended and not each.cancelled()):
            task.result()

    async def _read(self, intake: Intake, journal: Journal, *, follow: bool) -> None:
        """Read one source, pass after pass; its failure is its own."""
        patience = self.setup.settings.give_up_after.total_seconds()
        began, failures = time.monotonic(), 0
        while True:
            began_pass = time.monotonic()
            try:
                await intake.run()
            except (SourceError, PluginError, ConfigError) as error:
                intake.error = error
                failures += 1
                passing = isinstance(error, SourceError) and error.retryable
                if not passing or not (follow or time.monotonic() - began < patience):
                    if follow:
                        log.warning("%s; it has stopped", error)
                    return
                log.warning("%s; trying again", error)
            else:
                intake.error = None
                if not follow:
                    return
                began, failures = time.monotonic(), 0
            await journal.note(self.host.diagnostics.take())
            if follow:
                await self._pause(intake, until=began_pass + self._interval_s)
            else:
                await asyncio.sleep(backoff(failures, rng=random.Random()).total_seconds())  # noqa: S311  # jitter

    @property
    def _interval_s(self) -> float:
        return self.setup.settings.poll_interval.total_seconds()

    async def _pause(self, intake: Intake, *, until: float) -> None:
        """Wait until the next pass begins, or somebody hints at something new.

        Passes begin `poll_interval` apart; where the rate budget makes one last longer, the next
        follows at once, and the budget is what paces them.
        """
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await intake.hinted.wait()
        except TimeoutError:
            pass

    async def _deliver(self) -> None:
        """Wait until every sink has everything, or those that have not can only wait too long."""
        for drain in self.drains:
            drain.flush()
        patience = self.setup.settings.give_up_after.total_seconds()
        give_up_at: float | None = None
        while behind := [each for each in self.drains if not (each.finished or each.caught_up)]:
            now = time.monotonic()
            if not all(drain.waiting for drain in behind):
                give_up_at = None
            elif give_up_at is None:
                give_up_at = now + patience
            if give_up_at is not None:
                soonest = now + min(drain.next_attempt_s() for drain in behind)
                if now >= give_up_at or soonest > give_up_at:
                    self._give_up()
                    return
            await self._change(give_up_at)

    async def _stalled(self, journal: Journal) -> None:
        """Return when a full journal has waited too long for sinks that take nothing."""
        patience = self.setup.settings.give_up_after.total_seconds()
        stuck_since: float | None = None
        while stuck_since is None or time.monotonic() - stuck_since < patience:
            await asyncio.sleep(STALL_CHECK_S)
            if not (journal.room.full and all(drain.idle for drain in self.drains)):
                stuck_since = None
            elif stuck_since is None:
                stuck_since = time.monotonic()
        self._give_up()

    def _give_up(self) -> None:
        self._ending = "gave up"
        for drain in self.drains:
            if not (drain.finished or drain.caught_up):
                drain.give_up()

    async def _sinks_over(self) -> None:
        while not all(drain.finished for drain in self.drains):
            await self._change(None)

    async def _change(self, at_latest: float | None) -> None:
        """Wait until a drain has changed, but not past a moment of the monotonic clock."""
        self._changed.clear()
        try:
            async with asyncio.timeout(at_latest and at_latest - time.monotonic()):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _kept(self) -> None:
        """Let the drains know of new events, and stop reading when there are enough."""
        for drain in self.drains:
            drain.wake()
        if self._limit is not None:
            read = sum(intake.counts.events for intake in self.intakes)
            if read >= self._limit:
                self._enough.set()

    async def _tidy(self, journal: Journal) -> None:
        """Prune for a moment; what is left is for the next run."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(TIDY_S, self._left_s(GRACE))):
                await journal.prune()

    async def _prune(self, journal: Journal) -> None:
        while True:
            await asyncio.sleep(PRUNE_EVERY_S)
            await journal.prune()

    async def _end(self, drains: list["asyncio.Task[None]"]) -> None:
        """Give writes under way their time, then cancel what is left and say what it was."""
        _, late = await asyncio.wait(drains, timeout=self._left_s(GRACE))
        for task, drain in zip(drains, self.drains, strict=True):
            if task in late:
                log.warning("sink '%s' did not end its write; cancelling it", drain.setup.name)
                task.cancel()
        await asyncio.wait(drains, timeout=self._left_s(1.0))

    async def _close(self) -> None:
        """Close what was opened, the last first; each gets its share of the time that is left."""
        while self._to_close:
            left_s = self._left_s(1.0) / len(self._to_close)
            each = self._to_close.pop()
            if each.busy:  # left behind: `close` comes after the last call, and that is not over
                continue
            closing = asyncio.create_task(each.close())
            await asyncio.wait([closing], timeout=left_s)
            if not closing.done() or closing.cancelled():
                closing.cancel()
                each.blame(None)
                continue
            try:
                closing.result()
            except LevadaError as error:
                each.blame(error)

    def _left_s(self, share: float) -> float:
        """Return how long a stop may still take, up to *share* of its time; all of it if none is."""
        whole = share * self.setup.settings.shutdown_timeout.total_seconds()
        if self._stopped_at is None:
            return whole
        return max(0.05, self._stopped_at + whole - time.monotonic())


async def _together(works: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Do all works at the same time; the first that fails ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as errors:  # not except*: Python 3.11.2 wraps what is raised in it
        raise first_of(errors) from None
