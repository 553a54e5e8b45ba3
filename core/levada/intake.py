"""Drives one source: discovers its partitions, reads several at a time, keeps what they yield.

An intake knows nothing of a journal, only a `State`: the pipeline gives it one in the journal,
`levada.streaming` one in memory.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial

from attrs import define, evolve, field

from levada import codec
from levada.backlog import PageBacklog
from levada.batch import Batch, Checkpoint, Partition, Rejected
from levada.errors import Failure, Fatal, Gone, LevadaError, PluginError, SourceError, first_of
from levada.event import Event
from levada.host import Host, HostContext
from levada.reads import Reads, Urgency
from levada.report import SourceReport
from levada.retry import backoff
from levada.setup import SourceSetup
from levada.source import Source
from levada.state import Stage, State, Tracked

log: logging.Logger = logging.getLogger("levada.intake")

CHANCES = 3  # for a partition in one pass, and for every slot before the source is to blame
WRITES_UNDER_WAY = 64  # what one source may have read and the journal not yet got


@define
class Counts:
    """What an intake has done since it was made."""

    partitions: int = 0
    """Partitions that discovery showed in the latest pass."""
    reads: int = 0
    events: int = 0
    """New events kept; duplicates do not count."""
    rejected: int = 0
    failures: dict[str, str] = field(factory=dict)
    """Partitions whose last read failed, and why."""


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
        self._source: Source = setup.source
        self._state = state
        self._on_kept = on_kept
        self._wants = wants
        self._settings = host.settings
        self._ctx = _SourceContext(setup.name, setup.source, host)
        self._ctx.state = state
        self.error: LevadaError | None = None
        """What stopped the source for this run."""
        self._writes = asyncio.Semaphore(WRITES_UNDER_WAY)
        self._broken: BaseException | None = None
        self._failed_reads: dict[str, Partition] = {}
        self._failures_in_a_row = 0
        self._hints: set[str] = set()
        self._opening = self._open = False

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
            failures=dict(counts.failures),
            error=self.error,
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
            await self._source.close()

    async def run(self) -> None:
        """Make one pass: discover, read what may have something new, wait until all is durable.

        A pass opens the source until that has worked once. Cancelling is safe at any moment.

        Raises:
            SourceError: discovery failed, or a read said that the source must stop.
            PluginError: the source broke the contract.
        """
        self.counts.failures.clear()
        self._failed_reads.clear()
        self._failures_in_a_row = 0
        if not self._open:
            self._opening = True
            await self._guarded(self._source.open(self._ctx))
            self._open = True
        self._ctx.hints = frozenset(self._hints)
        self.hinted.clear()
        try:
            async with asyncio.TaskGroup() as reads:
                await self._guarded(self._discover(reads))
        except BaseExceptionGroup as group:  # not except*: Python 3.11.2 wraps what is raised in it
            raise first_of(group) from None
        if self._broken is not None:
            raise self._broken
        self._hints -= self._ctx.hints

    async def _discover(self, group: asyncio.TaskGroup) -> None:
        reads = Reads(group, self._settings.concurrency)
        try:
            checkpoint = await self._read_all(reads)
        finally:
            reads.close()
        if checkpoint is not None:
            await self._state.checkpoint(checkpoint)

    async def _read_all(self, reads: Reads) -> Checkpoint | None:
        """Read whatever discovery shows to be due, then what it did not show; return its end."""
        seen: set[str] = set()
        checkpoint: Checkpoint | None = None
        async for found in self._source.partitions(self._state.position, self._ctx):
            if isinstance(found, Checkpoint):
                checkpoint = found
            elif found.key not in seen:
                seen.add(found.key)
                self.counts.partitions = len(seen)
                tracked = self._state.tracked(found.key)
                if self._wants(found) and self._due(found, tracked):
                    await self._start(reads, found, tracked)
        for partition, tracked in self._unlisted(seen):
            await self._start(reads, partition, tracked)
        await self._finish(reads)
        return checkpoint

    def _unlisted(self, seen: set[str]) -> list[tuple[Partition, Tracked | None]]:
        """Return what is read though discovery did not show it: what is open, and what was hinted."""
        found: list[tuple[Partition, Tracked | None]] = []
        for key, tracked in self._state.unfinished().items():
            if key not in seen and (key in self._ctx.hints or not self._lingers(tracked)):
                found.append((tracked.partition, tracked))
        for key in self._ctx.hints - seen - {partition.key for partition, _ in found}:
            known = self._state.tracked(key)
            found.append((known.partition if known else Partition(key), known))
        return found

    def _due(self, partition: Partition, tracked: Tracked | None) -> bool:
        if tracked is None or partition.version is None or partition.key in self._ctx.hints:
            return True
        if tracked.partition.version != partition.version:
            return True
        return tracked.stage == "lingering" and not self._lingers(tracked)

    def _lingers(self, tracked: Tracked) -> bool:
        """Whether to wait with the last read, for events that show late."""
        return tracked.stage == "lingering" and self._changed_lately(tracked.partition)

    async def _finish(self, reads: Reads) -> None:
        """Wait until all that was read is durable; what failed gets two more chances."""
        await reads.finish()
        await self._durable()
        for attempt in range(1, CHANCES):
            failed, self._failed_reads = self._failed_reads, {}
            if failed:
                wait = backoff(attempt, rng=random.Random())  # noqa: S311  # jitter
                await asyncio.sleep(wait.total_seconds())
            for key, partition in failed.items():
                self.counts.failures.pop(key, None)
                await self._start(reads, partition, self._state.tracked(key))
            await reads.finish()
            await self._durable()
        for key, reason in self.counts.failures.items():
            self._ctx.report("read.failed", partition=key, reason=reason)

    async def _start(self, reads: Reads, partition: Partition, tracked: Tracked | None) -> None:
        await reads.add(self._urgency(partition, tracked), partial(self._read, partition, tracked))
        if self._broken is not None:
            raise self._broken

    def _urgency(self, partition: Partition, tracked: Tracked | None) -> Urgency:
        """Rank hints first and last looks last; else what changed longest ago has waited longest."""
        is_last_look = (
            tracked is not None
            and tracked.stage == "lingering"
            and partition.version == tracked.partition.version
        )
        rank = 0 if partition.key in self._ctx.hints else 2 if is_last_look else 1
        return rank, partition.changed.timestamp() if partition.changed else 0.0

    async def _read(self, partition: Partition, tracked: Tracked | None) -> None:
        """Read one partition to its end; a failure stays with it and is tried on the next pass."""
        self.counts.reads += 1
        learnt = partition
        try:
            position = tracked.position if tracked else None
            async for batch in self._source.read(partition, position, self._ctx):
                await self._keep(partition, batch)
                learnt = batch.partition or learnt
            await self._write(self._state.settle(learnt, self._stage(learnt)))
            self._failures_in_a_row = 0
        except Gone as gone:
            await self._gone(partition, tracked, gone)
        except Fatal as fatal:
            raise SourceError(self.setup.name, str(fatal)) from fatal
        except Failure as failure:
            await self._failed(partition, str(failure))
        except LevadaError:
            raise
        except Exception as error:
            log.debug("read failed", exc_info=True)
            await self._failed(partition, f"{type(error).__name__} in the plugin")

    async def _gone(self, partition: Partition, tracked: Tracked | None, gone: Gone) -> None:
        """Close a partition that is not there, but look once more after the linger.

        A 404 may pass: a copy of the vendor's database that lags behind, a row being moved.
        """
        if tracked is None or tracked.stage != "gone":
            self._ctx.report("partition.gone", partition=partition.key, reason=str(gone))
        if gone.listed:
            settled = self._state.settle(evolve(partition, version=None), "open")
        elif tracked is not None and self._was_waited_for(partition, tracked):
            settled = self._state.settle(partition, "gone")
        else:
            again = evolve(partition, changed=self._ctx.now())
            settled = self._state.settle(again, "lingering")
        await self._write(settled)

    def _was_waited_for(self, partition: Partition, tracked: Tracked) -> bool:
        is_unchanged = bool(tracked.partition.version == partition.version)
        return tracked.stage == "gone" or (tracked.stage == "lingering" and is_unchanged)

    async def _failed(self, partition: Partition, reason: str) -> None:
        """Track the partition as unread, so that it is read again and holds no checkpoint back."""
        self.counts.failures[partition.key] = reason
        self._failed_reads[partition.key] = partition
        await self._write(self._state.settle(evolve(partition, version=None), "open"))
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= CHANCES * self._settings.concurrency:
            raise SourceError(self.setup.name, reason, retryable=True)  # it is not the partition

    async def _keep(self, partition: Partition, batch: object) -> None:
        if not isinstance(batch, Batch):
            kind = type(batch).__name__
            raise PluginError(self._source.name, f"yielded {kind} from read(); it must be a Batch")
        if batch.partition is not None and batch.partition.key != partition.key:
            reason = f"yielded a batch about another partition than {partition.key!r}"
            raise PluginError(self._source.name, reason)
        checked = self._checked(partition, batch)
        await self._state.room()
        self.counts.rejected += len(checked.rejected)
        await self._write(self._state.keep(partition, checked), batch)

    def _checked(self, partition: Partition, batch: Batch) -> Batch:
        """Hold a batch to what the journal and every sink rely on."""
        events: list[Event] = []
        rejected = list(batch.rejected)
        for event in batch.events:
            if event.partition != partition.key:
                reason = f"yielded an event of another partition than {partition.key!r}"
                raise PluginError(self._source.name, reason)
            if not _is_text(event):
                rejected.append(Rejected(event.raw, reason="a name in it is not Unicode text"))
            elif b"\n" in event.raw or b"\r" in event.raw:
                events.append(evolve(event, raw=codec.one_line(event.raw)))
            else:
                events.append(event)
        return evolve(batch, events=events, rejected=rejected)

    async def _write(self, write: Awaitable[int | None], batch: Batch | None = None) -> None:
        """Let a write become durable in its own time; at most a few are under way."""
        await self._writes.acquire()
        if self._broken is not None:
            raise self._broken
        asyncio.ensure_future(write).add_done_callback(lambda done: self._written(done, batch))

    def _written(self, done: "asyncio.Future[int | None]", batch: Batch | None) -> None:
        self._writes.release()
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            self._broken = self._broken or error
            return
        if batch is not None:
            self.counts.events += done.result() or 0
            batch.mark_durable()
            self._on_kept()

    async def _durable(self) -> None:
        """Wait until every write so far is durable."""
        taken = 0
        try:
            while taken < WRITES_UNDER_WAY:
                await self._writes.acquire()
                taken += 1
        finally:
            for _ in range(taken):
                self._writes.release()
        if self._broken is not None:
            raise self._broken

    def _stage(self, partition: Partition) -> Stage:
        if self._changed_lately(partition):
            return "lingering"
        return "closed" if partition.final else "open"

    def _changed_lately(self, partition: Partition) -> bool:
        changed = partition.changed
        return changed is not None and self._ctx.now() - changed < self._source.linger

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Turn what a plugin raises into an error that names the source."""
        try:
            await work
        except Fatal as fatal:
            raise SourceError(self.setup.name, str(fatal)) from fatal
        except Failure as failure:
            raise SourceError(self.setup.name, str(failure), retryable=True) from failure
        except LevadaError:
            raise
        except Exception as error:
            log.debug("source failed", exc_info=True)
            raise PluginError(self._source.name, f"raised {type(error).__name__}") from error


def _is_text(event: Event) -> bool:
    """Whether the names in *event* can be written as UTF-8: lone surrogates cannot."""
    names = f"{event.id}{event.type}{event.subject}{event.kind}"
    if names.isascii():
        return True
    try:
        names.encode()
    except UnicodeEncodeError:
        return False
    return True


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
