"""Calls the methods of one connector, and contains whatever its plugin does instead.

What hangs is given up after the connector's `patience`, and cancelled. What does not even end
then cannot be ended at all; it is left behind.
"""

import asyncio
import logging
import signal
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import timedelta
from inspect import isawaitable
from typing import Any

from levada.asking import attribute_of, broken, is_unicode
from levada.errors import ConfigError, Failure, LevadaError, PluginError, Retry
from levada.host import CALLED, HostContext
from levada.source import Source

log: logging.Logger = logging.getLogger("levada.calls")

_END = object()

LEAVE_S = 0.5
"""What a call that is given up gets to end by itself."""


class Crashed(PluginError):  # noqa: N818  # as the failures: it says what happened
    """A connector has a bug that may be about one partition or delivery: it is tried again."""


class Stuck(PluginError):  # noqa: N818
    """A call did not even end when it was cancelled."""


class Calls:
    """The calls of one connector that are under way.

    *on_stuck* is called, once, with the error of one that has to be left behind.
    """

    def __init__(self, ctx: HostContext, on_stuck: Callable[[PluginError], None]) -> None:
        self._ctx = ctx
        self._connector = ctx.connector
        self._on_stuck = on_stuck
        self._limited: set[asyncio.Task[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether one of the connector's methods has not returned."""
        return self._ctx.busy

    def broken(self, reason: str, *, kind: type[PluginError] = PluginError) -> PluginError:
        """Return an error that says what the connector did, and names what it came with."""
        return broken(self._connector, reason, kind=kind)

    async def call(self, method: str, *arguments: object) -> Any:
        """Call one of the connector's methods that return something.

        Raises:
            Failure, ConfigError, PluginError: as the connector raised it.
            Retry: it was given up.
            Crashed: it raised anything else, even what would end the process.
            PluginError: it is no coroutine.
        """
        with self.contained(method):
            patience_s = self._patience_s()
            result = getattr(self._connector, method)(*arguments)
            if isawaitable(result):
                async with self._patience(method, patience_s):
                    return await result
        raise self._returned(method, result, "a coroutine")

    async def within(self, limit_s: float, method: str, *arguments: object) -> Any:
        """As `call`, but cancel what has not returned after *limit_s*, or when `give_up` says so.

        Raises:
            Retry: it was cancelled.
            Stuck: it did not end when it was.
        """
        return await self._within(limit_s, method, self.call(method, *arguments))

    async def first(self, limit_s: float, method: str, *arguments: object) -> Any:
        """Return the first of what one of the methods yields, None if that is nothing.

        What comes after it is not asked for.

        Raises:
            Retry, Stuck: as `within`; the others as `each`.
        """

        async def first() -> Any:
            async with aclosing(self.each(method, *arguments)) as several:
                return await anext(several, None)

        return await self._within(limit_s, method, first())

    async def _within(self, limit_s: float, method: str, work: Coroutine[Any, Any, Any]) -> Any:
        began = time.monotonic()
        call = asyncio.create_task(work)
        self._limited.add(call)
        try:
            await asyncio.wait([call], timeout=limit_s)
            if call.done() and not call.cancelled():
                return call.result()
        finally:
            self._limited.discard(call)
            if not call.done():
                call.cancel()
                await asyncio.wait([call], timeout=LEAVE_S)
        if not call.done():
            raise self.broken(f"did not come back from {method}()", kind=Stuck)
        raise Retry(f"{method}() did not end in {time.monotonic() - began:.1f} s")

    def give_up(self) -> None:
        """Cancel the calls that have a limit."""
        for call in self._limited:
            call.cancel()

    async def each(self, method: str, *arguments: object) -> AsyncGenerator[Any, None]:
        """Call one of the connector's methods that yield; to be closed by who iterates.

        Raises:
            Failure, ConfigError, Retry, Crashed: as `call`.
            PluginError: it is no async generator.
        """
        with self.contained(method):
            patience_s = self._patience_s()
            result = getattr(self._connector, method)(*arguments)
            if isinstance(result, AsyncIterator):
                try:
                    while (found := await self._next(method, result, patience_s)) is not _END:
                        yield found
                finally:
                    await self._end(method, result, patience_s)
                return
        if isinstance(result, Coroutine):
            result.close()
        raise self._returned(method, result, "an async generator")

    async def _next(self, method: str, found: AsyncIterator[Any], patience_s: float | None) -> Any:
        async with self._patience(method, patience_s):
            return await anext(found, _END)

    async def _end(self, method: str, found: AsyncIterator[Any], patience_s: float | None) -> None:
        """Let a generator close what it has open, before anything else of its connector is called."""
        if isinstance(found, AsyncGenerator):
            async with self._patience(method, patience_s):
                await found.aclose()

    def _patience_s(self) -> float | None:
        """Return how long a call may show no sign of life; asked before it is made.

        Raises:
            PluginError: that cannot be told.
        """
        patience = attribute_of(self._connector, "patience")
        if not isinstance(patience, timedelta | None):
            kind = type(patience).__name__
            raise self.broken(f"has {kind} for patience; it must be a timedelta or None")
        live = isinstance(self._connector, Source) and attribute_of(self._connector, "live")
        # What is live may have nothing to tell for long.
        return None if live or patience is None else patience.total_seconds()

    @asynccontextmanager
    async def _patience(self, method: str, patience_s: float | None) -> AsyncIterator[None]:
        """Cancel what shows no sign of life.

        In the same task: what a generator has entered, it may leave in no other.
        """
        if patience_s is None:
            yield
            return
        look, limit = _Look(self._ctx, patience_s), asyncio.timeout(None)
        try:
            async with limit:
                look.begin(limit, lambda: self._stuck(method))
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            reason = f"{method}() showed no sign of life for {patience_s:g} s"
            raise Retry(reason) from error
        finally:
            look.end()

    def _stuck(self, method: str) -> None:
        self._on_stuck(self.broken(f"did not come back from {method}()", kind=Stuck))

    def _returned(self, method: str, result: object, expected: str) -> PluginError:
        kind = type(result).__name__
        return self.broken(f"returned {kind} from {method}(); it must be {expected}")

    @contextmanager
    def contained(self, method: str) -> Iterator[None]:
        """Count a use of the connector's *method*, and turn what it raises into `Crashed`."""
        CALLED.set(self._ctx)  # for good: a task is at work for one connector
        self._ctx.calls += 1
        try:
            yield
        except (Failure, ConfigError, PluginError) as error:
            if fault := _fault_of(error):
                reason = f"raised {type(error).__name__} from {method}() {fault}"
                raise self.broken(reason) from error
            raise
        except BaseException as error:
            if _is_ours(error):
                raise
            log.debug("%s failed", method, exc_info=True)
            raise self.broken(
                f"raised {type(error).__name__} from {method}()", kind=Crashed
            ) from error
        finally:
            self._ctx.calls -= 1


def _fault_of(error: LevadaError) -> str:
    """Return what is wrong with what a connector raised for the host; "" if nothing is."""
    try:
        reason, after = str(error), getattr(error, "after", None)
    except Exception:  # noqa: BLE001  # it is a plugin's code
        return "whose reason or time cannot be told"
    if not is_unicode(reason):
        return "whose reason is no Unicode text"
    if isinstance(error, Retry) and not isinstance(after, timedelta | None):
        return f"whose after is {type(after).__name__}; it must be timedelta"
    return ""


class _Look:
    """Looks after a call, now and then: is it alive?"""

    def __init__(self, ctx: HostContext, patience_s: float) -> None:
        self._ctx = ctx
        self._patience_s = patience_s
        self._requests = ctx.requests
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None

    def begin(self, limit: asyncio.Timeout, stuck: Callable[[], None]) -> None:
        """Look again and again; let *limit* expire, and call *stuck* when that did not help."""
        self._next = self._loop.call_later(self._patience_s, self._look, limit, stuck)

    def end(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()

    def _look(self, limit: asyncio.Timeout, stuck: Callable[[], None]) -> None:
        if self._ctx.requesting or self._ctx.requests != self._requests:
            self._requests = self._ctx.requests
            self.begin(limit, stuck)
        else:
            limit.reschedule(self._loop.time())
            self._next = self._loop.call_later(LEAVE_S, stuck)


def _is_ours(error: BaseException) -> bool:
    """Return whether this is the host's: its end of a task or generator, or of its journal; Ctrl-C.

    A plugin may raise the same by itself.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    if isinstance(error, KeyboardInterrupt):
        return _is_ctrl_c(error)
    if isinstance(error, GeneratorExit | LevadaError):
        return raised_in(error).startswith("levada.")
    return False


def _is_ctrl_c(error: KeyboardInterrupt) -> bool:
    """Return whether a signal may have raised this, and not a plugin.

    Python's own handler raises it wherever the program is, and leaves no trace; that of asyncio
    does. Who handles the signal otherwise, as `levada run`, has it raised by nobody.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        return True
    return raised_in(error) == "asyncio.runners"


def raised_in(error: BaseException) -> str:
    """Return the name of the module whose code raised *error*."""
    *_, (raising, _) = traceback.walk_tb(error.__traceback__)
    return str(raising.f_globals.get("__name__"))
