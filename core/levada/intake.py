"""Drives one source: discovers its partitions, reads several at a time, keeps what they yield.

An intake knows nothing of a journal, only a `State`: the pipeline gives it one in the journal,
`levada.streaming` one in memory.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from attrs import define, evolve

from levada.agenda import Agenda
from levada.backlog import PageBacklog
from levada.batch import Batch, Checkpoint, Partition
from levada.calls import Calls, Crashed
from levada.contract import Contract
from levada.errors import (
    ConfigError,
    Failure,
    Fatal,
    Gone,
    LevadaError,
    PluginError,
    Retry,
    SourceError,
    first_of,
)
from levada.failures import CHANCES, Failures
from levada.holding import held
from levada.host import Host, HostContext
from levada.reads import Reads
from levada.report import SourceReport
from levada.retry import backoff
from levada.setup import SourceSetup
from levada.source import Source
from levada.state import Kept, Stage, State, Tracked
from levada.writes import Writes

log: logging.Logger = logging.getLogger("levada.intake")

TURN = 64  # partitions that discovery shows before others have their turn


@define
class Counts:
    """What an intake has done since it was made."""

    partitions: int = 0
    """Partitions that discovery showed in the latest pass."""
    reads: int = 0
    events: int = 0
    """New events kept; duplicates do not count."""
    rejected: int = 0
    """Items that became dead letters; those that had before do not count."""


class Intake:
    """Reads one source into a state, pass after pass.

    *on_kept* is called whenever new events have become durable.
    """

    def __init__(
        self,
        setup: SourceSetup,
        state: State,
        host: Host,
        *,
        on_kept: Callable[[], None] = lambda: None,
        wants: Callable[[Partition], bool] = lambda _: True,
    ) -> None:
        self.setup = setup
        self.hinted: asyncio.Event = asyncio.Event()
        """Set while there are hints that no pass has taken up."""
        self.counts: Counts = Counts()
        self.error: LevadaError | None = None
        """What stopped the source for this run."""
        self.failures: Failures = Failures(host.settings.concurrency)
        """Of the latest pass."""
        self._source: Source = setup.source
        self._state = state
        self._on_kept = on_kept
        self._wants = wants
        self._settings = host.settings
        self._ctx = _SourceContext(setup.name, setup.source, host)
        self._ctx.state = state
        self._stuck: asyncio.Future[PluginError] | None = None
        self._calls = Calls(self._ctx, self._leave)
        self._contract = Contract(self._calls)
        self._agenda = Agenda(setup.source, state, self._ctx.now)
        self._writes = Writes()
        self._hints: set[str] = set()
        self._opening = self._open = False

    @property
    def busy(self) -> bool:
        """Whether the source is at work: a call of ours has not returned."""
        return self._calls.busy

    @property
    def unread(self) -> LevadaError | None:
        """What kept partitions from being read in the last pass; None: nothing did."""
        if self.failures.crash or not self.failures.reasons:
            return self.failures.crash
        return SourceError(self.setup.name, self.failures.in_words, retryable=True)

    def report(self) -> SourceReport:
        """Tell what was done so far."""
        counts = self.counts
        return SourceReport(
            name=self.setup.name,
            connector=self._source.name,
            partitions=counts.partitions,
            reads=counts.reads,
            events=counts.events,
            rejected=counts.rejected,
            requests=self._ctx.requests,
            failures=dict(self.failures.reasons),
            error=self.failures.crash or self.error,
        )

    def hint(self, key: str) -> None:
        """Have the partition *key* read in the next pass, whatever its version.

        For whoever hears of an execution before its list is looked at: a person, a webhook. It
        only schedules a read, so a wrong or repeated hint costs a request and nothing else.
        """
        self._hints.add(key)
        self.hinted.set()

    async def close(self) -> None:
        """Close the source, also one that failed to open."""
        if self._opening:
            await self._guarded(self._calls.call("close"))

    def blame(self, error: LevadaError | None) -> None:
        """Keep what `close` raised; None: it did not end. What was read stays so."""
        self.error = self.error or error or self._calls.broken("did not come back from close()")

    async def run(self) -> None:
        """Make one pass: discover, read what may have something new, wait until all is durable.

        A pass opens the source until that has worked once. Cancelling is safe at any moment.

        Raises:
            SourceError: discovery failed, or a read said that the source must stop.
            PluginError: the source broke the contract, or hangs so that it is left behind.
        """
        stuck = self._stuck = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(self._pass())
        try:
            await asyncio.wait([running, stuck], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            raise
        if stuck.done():
            running.cancel()
            raise stuck.result()
        if running.cancelled():
            raise self._cancelled()
        await running

    def _cancelled(self) -> PluginError:
        return self._calls.broken("cancelled the task that partitions() or read() ran in")

    def _leave(self, error: PluginError) -> None:
        if self._stuck is not None and not self._stuck.done():
            self._stuck.set_result(error)

    async def _pass(self) -> None:
        self.failures = Failures(self._settings.concurrency)
        if not self._open:
            self._opening = True
            await self._guarded(self._calls.call("open", self._ctx))
            self._open = True
        hints = self._ctx.hints = self._agenda.hints = frozenset(self._hints)
        self.hinted.clear()
        try:
            async with asyncio.TaskGroup() as reads:
                await self._guarded(self._discover(reads))
        except BaseExceptionGroup as group:  # not except*: Python 3.11.2 wraps what is raised in it
            with suppress(Exception):  # that is what ended it
                await self._writes.durable()  # sinks get what was read before it
            raise first_of(group) from None
        self._writes.check()
        self._hints -= hints

    async def _discover(self, group: asyncio.TaskGroup) -> None:
        reads = Reads(group, self._settings.concurrency, self._cancelled)
        try:
            checkpoint = await self._read_all(reads)
        except Failure:  # of discovery: what it has shown is read all the same
            self.failures.is_discovery_over = True
            await reads.finish()
            raise
        finally:
            reads.close()
        if checkpoint is not None:
            await self._state.checkpoint(checkpoint)

    async def _read_all(self, reads: Reads) -> Checkpoint | None:
        """Read whatever discovery shows to be due, then what it did not show; return its end."""
        seen: set[str] = set()
        checkpoint: Checkpoint | None = None
        shown_so_far = 0
        position = self._state.position
        async with aclosing(self._calls.each("partitions", position, self._ctx)) as shown:
            async for each in shown:
                shown_so_far += 1
                if shown_so_far % TURN == 0:
                    await asyncio.sleep(0)  # a plugin's loop may never wait
                found = self._contract.discovered(each)
                if isinstance(found, Checkpoint):
                    checkpoint = found
                elif found.key not in seen:
                    seen.add(found.key)
                    self.counts.partitions = len(seen)
                    tracked = self._state.tracked(found.key)
                    if self._wants(found) and self._agenda.due(found, tracked):
                        await self._start(reads, found, tracked)
        for partition, tracked in self._agenda.unlisted(seen):
            await self._start(reads, partition, tracked)
        await self._finish(reads)
        return checkpoint

    async def _finish(self, reads: Reads) -> None:
        """Wait until all that was read is durable; what failed on its own gets two more chances."""
        await reads.finish()
        await self._writes.durable()
        for attempt in range(1, CHANCES):
            again = self.failures.take_again()
            if again:
                wait = backoff(attempt, rng=random.Random())  # noqa: S311  # jitter
                await asyncio.sleep(wait.total_seconds())
            for partition in again:
                self.failures.forget(partition)
                await self._start(reads, partition, self._state.tracked(partition.key))
            await reads.finish()
            await self._writes.durable()
        for key, reason in self.failures.reasons.items():
            self._ctx.report("read.failed", partition=key, reason=reason)

    async def _start(self, reads: Reads, partition: Partition, tracked: Tracked | None) -> None:
        urgency = self._agenda.urgency(partition, tracked)
        await reads.add(urgency, partial(self._read, partition, tracked))
        self._writes.check()

    async def _read(self, partition: Partition, tracked: Tracked | None) -> None:
        """Read one partition to its end; a failure stays with it and is tried on the next pass."""
        self.counts.reads += 1
        learnt = partition
        try:
            position = tracked.position if tracked else None
            reading = self._calls.each("read", partition, position, self._ctx)
            with held() as let_go:
                async with aclosing(reading) as read:
                    async for yielded in read:
                        batch = await self._keep(partition, yielded)
                        let_go()
                        learnt = batch.partition or learnt
            await self._settle(learnt, self._agenda.stage(learnt))
            self.failures.note_read()
        except Gone as gone:
            await self._gone(partition, tracked, gone)
        except Fatal as fatal:
            if not fatal.of_one or self.failures.is_refused_everywhere():
                raise SourceError(self.setup.name, str(fatal)) from fatal
            self.failures.note(partition, str(fatal), again=False)
            await self._unread(partition)
        except Failure as failure:
            of_all = isinstance(failure, Retry) and failure.everywhere
            self.failures.note(partition, str(failure), again=not of_all)
            await self._unread(partition)
        except Crashed as crash:
            self.failures.note_crash(partition, crash)
            await self._unread(partition)
        except ConfigError as error:
            raise self._named(error) from error
        except LevadaError:
            raise
        except Exception as error:
            log.debug("read failed", exc_info=True)
            reason = f"broke the contract: {type(error).__name__}"
            self.failures.note_crash(partition, self._calls.broken(reason))
            await self._unread(partition)

    async def _gone(self, partition: Partition, tracked: Tracked | None, gone: Gone) -> None:
        """Close a partition that is not there, but look once more after the linger.

        A 404 may pass: a copy of the vendor's database that lags behind, a row being moved.
        """
        if tracked is None or tracked.stage != "gone":
            self._ctx.report("partition.gone", partition=partition.key, reason=str(gone))
        if gone.listed:
            await self._settle(evolve(partition, version=None), "open")
        elif tracked is not None and self._agenda.was_waited_for(partition, tracked):
            await self._settle(partition, "gone")
        else:
            await self._settle(evolve(partition, changed=self._ctx.now()), "lingering")

    async def _unread(self, partition: Partition) -> None:
        """Track the partition as unread, so that it is read again and holds no checkpoint back."""
        await self._settle(evolve(partition, version=None), "open")
        if self.failures.is_everywhere():
            reason = self.failures.reasons[partition.key]
            raise SourceError(self.setup.name, reason, retryable=True)

    async def _keep(self, partition: Partition, yielded: Any) -> Batch:
        """Begin to keep a batch; return it as it was taken."""
        with self._calls.contained("read"):  # its events may be computed as they are asked for
            batch = self._contract.batch(partition, yielded)
        keep = partial(self._state.keep, partition, batch)
        size = sum(len(event.raw) for event in batch.events)
        size += sum(len(item.raw) for item in batch.rejected)
        room = partial(self._state.room, batch)
        await self._writes.add(keep, partial(self._kept, yielded), size=size, room=room)
        return batch

    async def _settle(self, partition: Partition, stage: Stage) -> None:
        await self._writes.add(partial(self._state.settle, partition, stage))

    def _kept(self, yielded: Batch, kept: Kept) -> None:
        self.counts.events += kept.new
        self.counts.rejected += kept.rejected
        yielded.mark_durable()  # not a copy: it is what the source waits for
        self._on_kept()

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Turn what a source raises into an error that names it."""
        try:
            await work
        except Fatal as fatal:
            raise SourceError(self.setup.name, str(fatal)) from fatal
        except Failure as failure:
            raise SourceError(self.setup.name, str(failure), retryable=True) from failure
        except ConfigError as error:
            raise self._named(error) from error
        except LevadaError:
            raise
        except Exception as error:
            log.debug("source failed", exc_info=True)
            raise self._calls.broken(f"broke the contract: {type(error).__name__}") from error

    def _named(self, error: ConfigError) -> ConfigError:
        return ConfigError(f"source '{self.setup.name}': {error}")


class _SourceContext(HostContext):
    """The services to a source; what it knows, it knows from the state."""

    state: State
    hints: frozenset[str] = frozenset()

    @property
    def open_partitions(self) -> Mapping[str, Partition]:
        return {key: tracked.partition for key, tracked in self.state.unfinished().items()}

    async def known(self, partition: str, ids: Iterable[str]) -> set[str]:
        return self.state.known(partition, ids)

    def count(self, partition: str) -> int:
        return self.state.count(partition)

    def backlog(self) -> PageBacklog:
        return PageBacklog()

    def now(self) -> datetime:
        """Tell the time by the vendor's clock, once it has answered."""
        for client in self.clients:
            now: datetime = client.now()
            return now
        return datetime.now(UTC)
