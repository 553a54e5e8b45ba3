"""Drains the journal into one sink: its own pace, its own retries, its own dead letters."""

import asyncio
import logging
import time
from datetime import timedelta

from attrs import define

from levada._json import Json
from levada.batch import Delivery
from levada.brake import Brake
from levada.calls import LEAVE_S, Calls, Crashed, Stuck
from levada.contract import Contract
from levada.copies import own_all
from levada.errors import (
    Closed,
    ConfigError,
    Disable,
    Failure,
    Fatal,
    LevadaError,
    Reject,
    Retry,
    SinkError,
    TooLarge,
)
from levada.host import Host, HostContext
from levada.journal import Cursor, Outstanding
from levada.planner import Planner
from levada.report import Condition, SinkReport
from levada.setup import SinkSetup

log: logging.Logger = logging.getLogger("levada.drain")

MOST_CRASHES = 5  # of one plugin in a row, before it is taken to be broken


@define
class Tally:
    """What a drain has done in this run."""

    delivered: int = 0
    dead: int = 0
    attempts: int = 0


class Drain:
    """Delivers to one sink what the journal holds for it.

    *changed* is set whenever one of the properties may have another value.
    """

    def __init__(
        self, setup: SinkSetup, cursor: Cursor, host: Host, changed: asyncio.Event
    ) -> None:
        self.setup = setup
        self.tally: Tally = Tally()
        self.condition: Condition = "active"
        self.reason: str = ""
        """Why the sink is failing, closed, disabled or stopped."""
        self.error: LevadaError | None = None
        """What stopped it."""
        self._sink = setup.sink
        self._cursor = cursor
        self._ctx = _SinkContext(setup.name, setup.sink, host)
        self._ctx.journal = cursor.journal_id
        self._calls = Calls(self._ctx, self._stop_with)
        self._contract = Contract(self._calls)
        self._changed = changed
        self._wake = asyncio.Event()
        self._running: dict[asyncio.Task[None], Outstanding] = {}
        self._patience_s = host.settings.request_timeout.total_seconds()
        lanes = self._lanes()
        self._brake = Brake(lanes)
        self._planner = Planner(setup, cursor, lanes=lanes)
        if cursor.due > time.monotonic():
            self._brake.ask(timedelta(seconds=cursor.due - time.monotonic()))
        self._crashes = 0
        self._open = False
        self._ready = False
        self._stopping = self._ending = False
        self._flushing = False

    def _lanes(self) -> int:
        """Ask the sink for its lanes, once: they are a plugin's, and may be anything that runs code."""
        try:
            with self._calls.contained("lanes"):
                return self._contract.lanes(self._sink.lanes)
        except Failure as failure:
            raise self._calls.broken(f"raised {type(failure).__name__} from lanes") from failure

    @property
    def finished(self) -> bool:
        """Whether the sink gets nothing more in this run."""
        return self.condition in {"closed", "disabled", "stopped"}

    @property
    def writing(self) -> bool:
        """Whether a write is under way."""
        return bool(self._running)

    @property
    def busy(self) -> bool:
        """Whether the sink is at work: a call of ours has not returned."""
        return self._calls.busy

    @property
    def idle(self) -> bool:
        """Whether the sink takes nothing for now: it is finished, caught up, or can only wait."""
        return self.finished or self.caught_up or self.waiting

    @property
    def waiting(self) -> bool:
        """Whether it has something to deliver and can only wait: it fails, or none is due yet."""
        return not self.caught_up and (self.condition == "failing" or self.next_attempt_s() > 0)

    def give_up(self) -> None:
        """Say that what can only wait is left behind: for this run the sink has failed."""
        reasons = [each.reason for each in self._planner.waiting if each.attempts]
        if self.condition == "active" and (reasons or self._brake.held()):
            self._become("failing", reasons[0] if reasons else "its destination asked for a wait")

    def next_attempt_s(self) -> float:
        """Return how long, as far as is known, until the next attempt; 0 while there is one."""
        if self.writing:
            return 0.0
        return max(self._due_s(), self._brake.until - time.monotonic(), 0.0)

    def _due_s(self) -> float:
        """Return how long until a delivery is due, whatever the brake says."""
        if self._planner.startable(self._running.values(), 1):
            return 0.0
        return self._planner.next_s() or 0.0

    @property
    def caught_up(self) -> bool:
        """Whether the sink has everything that the journal holds."""
        return not self._running and self._planner.empty

    @property
    def filtered(self) -> int:
        """How many events the sink did not want in this run."""
        return self._planner.filtered

    def report(self) -> SinkReport:
        """Tell what was done so far, and what the sink still has to get."""
        return SinkReport(
            name=self.setup.name,
            connector=self._sink.name,
            delivered=self.tally.delivered,
            dead=self.tally.dead,
            filtered=self._planner.filtered,
            pending=self._cursor.pending(),
            condition=self.condition,
            reason=self.reason,
            error=self.error,
        )

    async def open(self) -> None:
        """Open the sink and bring it to where the journal says it is.

        What fails for the moment is tried again by `run()`, and so is what takes longer than one
        HTTP exchange may: while a sink hangs here, nothing of the others has begun.

        Raises:
            ConfigError: it cannot work as it is configured.
            PluginError: it broke the contract.
        """
        if self._cursor.disabled is not None:
            self._end("disabled", self._cursor.disabled)
            return
        try:
            if not self._open:
                await self._calls.within(self._patience_s, "open", self._ctx)
                self._open = True
            receipt = self._cursor.receipt
            held = await self._calls.within(self._patience_s, "resume", receipt, self._ctx)
        except Retry as retry:
            self._fail(Retry(str(retry), after=retry.after, everywhere=True))
        except ConfigError as error:
            raise ConfigError(f"sink '{self.setup.name}': {error}") from error
        except Failure as failure:
            if not self._open:
                raise ConfigError(f"sink '{self.setup.name}': {failure}") from failure
            self._stop_for(failure)
        except Stuck as stuck:
            self._stop_with(stuck)
        except asyncio.CancelledError:
            log.warning("sink '%s' did not open; ending without it", self.setup.name)
            raise
        else:
            await self._resumed(self._contract.held(held))

    async def _resumed(self, held: int | None) -> None:
        self._ready = True
        if held is not None:
            await self._cursor.skip_to(held)
            self._planner.waiting = self._cursor.outstanding()

    async def run(self) -> None:
        """Deliver until the sink is finished or `stop()` is called; then end what is under way."""
        try:
            await self._deliver()
            if self._running:
                await asyncio.wait(self._running)
        finally:
            self._ending = True
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=LEAVE_S)
            self._changed.set()

    async def _deliver(self) -> None:
        try:
            while not (self.finished or self._stopping):
                self._wake.clear()
                looked_at = time.monotonic()
                if self._ready:
                    await self._planner.top_up(self._running.values(), flush=self._flushing)
                    self._start()
                elif not self._brake.held():
                    await self.open()
                    self.wake()
                self._changed.set()
                await self._pause(looked_at)
        except Exception as error:
            log.debug("drain failed", exc_info=True)
            self._stop_with(self._blamed(error))

    def wake(self) -> None:
        """Say that the journal may hold something new."""
        self._wake.set()

    def flush(self) -> None:
        """Say that nothing new will come, so no delivery need wait to be filled up."""
        self._flushing = True
        self.wake()

    def stop(self) -> None:
        """Start nothing more, and open nothing."""
        self._stopping = True
        self._calls.give_up()
        self.wake()

    async def close(self) -> None:
        """Close the sink if it was opened."""
        if self._open:
            try:
                await self._calls.call("close")
            except (Failure, ConfigError) as failure:
                raise SinkError(self.setup.name, str(failure)) from failure

    def blame(self, error: LevadaError | None) -> None:
        """Keep what `close` raised; None: it did not end. What was delivered stays so."""
        self.error = self.error or error or self._calls.broken("did not come back from close()")

    def _start(self) -> None:
        """Start what may go now, unless the sink was finished or held back a moment ago."""
        if self.finished or self._brake.held():
            return
        free = self._brake.lanes - len(self._running)
        for delivery in self._planner.startable(self._running.values(), free) if free > 0 else ():
            self._planner.waiting.remove(delivery)
            task = asyncio.create_task(self._attempt(delivery))
            self._running[task] = delivery
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        delivery = self._running.pop(task)
        if task.cancelled() and not self._ending:
            self._planner.put_back(delivery)
            self._stop_with(self._calls.broken("cancelled the task that write() ran in"))
        self._check(task)
        self.wake()

    async def _pause(self, looked_at: float) -> None:
        """Wait until there may be something to do that there was not at *looked_at*."""
        waits = [self._planner.next_s()]
        if self._brake.until > looked_at:
            waits.append(max(0.0, self._brake.until - time.monotonic()))
        known = [wait for wait in waits if wait is not None]
        try:
            async with asyncio.timeout(min(known, default=None)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _attempt(self, delivery: Outstanding) -> None:
        self.tally.attempts += 1
        events = own_all(delivery.events)
        parcel = Delivery(events, attempt=delivery.attempts + 1, format=self._sink.format)
        try:
            receipt = await self._calls.call("write", parcel, self._ctx)
        except Failure as failure:
            await self._failed(delivery, self._contract.failure(failure, delivery.events))
        except Crashed as crash:
            await self._crashed(delivery, crash)
        else:
            await self._done(delivery, receipt, {})

    async def _failed(self, delivery: Outstanding, failure: Failure) -> None:
        """Do what a failure asks for."""
        match failure:
            case Reject():
                await self._done(delivery, failure.receipt, failure.reasons)
            case TooLarge() if len(delivery.events) > 1:
                self._planner.put_back(*await self._cursor.split(delivery))
            case TooLarge():
                (event,) = delivery.events
                await self._done(delivery, None, {(event.partition, event.id): str(failure)})
            case Retry():
                await self._retry(delivery, failure)
            case Closed():
                await self._cursor.cut(delivery, failure.written)
                self.tally.delivered += failure.written
                self._end("closed", str(failure))
            case Disable():
                await self._cursor.disable(str(failure))
                self._end("disabled", str(failure))
            case _:
                self._stop_for(failure)

    async def _crashed(self, delivery: Outstanding, crash: Crashed) -> None:
        """Take an unexpected exception for a failed attempt, a few times."""
        self._crashes += 1
        if self._crashes >= MOST_CRASHES:
            self._stop_with(crash)
        else:
            await self._retry(delivery, Retry(crash.reason))

    async def _done(
        self, delivery: Outstanding, receipt: Json, reasons: dict[tuple[str, str], str]
    ) -> None:
        """Record an outcome. A sink with receipts gets nothing more before this one is durable."""
        try:
            recorded = asyncio.ensure_future(self._cursor.done(delivery, receipt, reasons))
        except (TypeError, ValueError) as error:
            raise self._contract.no_receipt(receipt) from error
        self._crashes = 0
        self._brake.release()
        self._become("active", "")
        dead = sum((event.partition, event.id) in reasons for event in delivery.events)
        self.tally.dead += dead
        self.tally.delivered += len(delivery.events) - dead
        if receipt is not None:
            await recorded
        else:
            recorded.add_done_callback(self._check)

    async def _retry(self, delivery: Outstanding, failure: Retry) -> None:
        """Put a delivery back for later, and hold the whole sink back if it keeps failing."""
        delivery.attempts += 1
        delivery.reason = str(failure)
        if failure.after is not None:
            delivery.due = time.monotonic() + failure.after.total_seconds()
        self._fail(failure)
        wait = failure.after if failure.persist else None
        await self._cursor.failed(delivery, wait=wait, everywhere=failure.everywhere)
        self._planner.put_back(delivery)

    def _fail(self, failure: Retry) -> None:
        """Count a failure, and hold the whole sink back as far as it is the sink's."""
        self._brake.failed(hold=failure.after is None)
        if failure.after is not None and failure.everywhere:
            self._brake.ask(failure.after)
        if self.condition == "active":
            log.warning("sink '%s' is failing: %s", self.setup.name, failure)
        self._become("failing", str(failure))

    def _check(self, done: "asyncio.Future[None]") -> None:
        """Stop the sink if something of ours failed that nobody waits for."""
        if not done.cancelled() and (error := done.exception()) is not None:
            self._stop_with(self._blamed(error))

    def _blamed(self, error: BaseException) -> LevadaError:
        """Return *error* itself, or what it says of the plugin if it is none of ours."""
        if isinstance(error, ConfigError):
            return ConfigError(f"sink '{self.setup.name}': {error}")
        if isinstance(error, LevadaError):
            return error
        return self._calls.broken(f"broke the contract: {type(error).__name__}")

    def _stop_for(self, failure: Failure) -> None:
        local = isinstance(failure, Fatal) and failure.local
        self._stop_with(SinkError(self.setup.name, str(failure), local=local))

    def _stop_with(self, error: LevadaError) -> None:
        self.error = self.error or error
        self._end("stopped", error.reason if isinstance(error, SinkError) else str(error))

    def _end(self, condition: Condition, reason: str) -> None:
        if self.finished:
            return
        self._become(condition, reason)
        if condition != "closed":
            log.warning("sink '%s' is %s: %s", self.setup.name, condition, reason)
        self.wake()

    def _become(self, condition: Condition, reason: str) -> None:
        """Say how the sink is. One that is finished stays so, whatever its other lanes still do."""
        if not self.finished:
            self.condition, self.reason = condition, reason
            self._changed.set()


class _SinkContext(HostContext):
    """The services to a sink."""

    journal: str
