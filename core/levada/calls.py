"""Calls the methods of one connector, and contains whatever its plugin does instead."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Iterator
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any

from levada.connector import Connector
from levada.errors import LevadaError, PluginError, Retry
from levada.plugins import broken

log: logging.Logger = logging.getLogger("levada.calls")

LEAVE_S = 0.5
"""What a call that is given up gets to end by itself."""


class Crashed(PluginError):  # noqa: N818  # as the failures: it says what happened
    """A connector has a bug that may be about one partition or delivery: it is tried again."""


class Stuck(PluginError):  # noqa: N818
    """A call did not even end when it was cancelled."""


class Calls:
    """The calls of one connector that are under way."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._under_way: Counter[str] = Counter()
        self._limited: set[asyncio.Task[Any]] = set()

    @property
    def busy(self) -> bool:
        """Whether one of the connector's methods has not returned."""
        return any(self._under_way.values())

    def broken(self, reason: str, *, kind: type[PluginError] = PluginError) -> PluginError:
        """Return an error that says what the connector did, and names what it came with."""
        return broken(self._connector, reason, kind=kind)

    async def call(self, method: str, *arguments: object) -> Any:
        """Call one of the connector's methods that return something.

        Raises:
            LevadaError: as the connector raised it.
            Crashed: it raised anything else, even what would end the process.
            PluginError: it is no coroutine.
        """
        with self.contained(method):
            result = getattr(self._connector, method)(*arguments)
            if isawaitable(result):
                return await result
        raise self._returned(method, result, "a coroutine")

    async def within(self, limit_s: float, method: str, *arguments: object) -> Any:
        """As `call`, but cancel what has not returned after *limit_s*, or when `give_up` says so.

        Raises:
            Retry: it was cancelled.
            Stuck: it did not end when it was.
        """
        began = time.monotonic()
        call = asyncio.create_task(self.call(method, *arguments))
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
            LevadaError, Crashed: as `call`.
            PluginError: it is no async generator.
        """
        with self.contained(method):
            result = getattr(self._connector, method)(*arguments)
            if isinstance(result, AsyncIterable):
                async for found in result:
                    yield found
                return
        if isinstance(result, Coroutine):
            result.close()
        raise self._returned(method, result, "an async generator")

    def _returned(self, method: str, result: object, expected: str) -> PluginError:
        kind = type(result).__name__
        return self.broken(f"returned {kind} from {method}(); it must be {expected}")

    @contextmanager
    def contained(self, method: str) -> Iterator[None]:
        """Count a use of the connector's *method*, and turn what it raises into `Crashed`."""
        self._under_way[method] += 1
        try:
            yield
        except (LevadaError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            log.debug("%s failed", method, exc_info=True)
            raise self.broken(
                f"raised {type(error).__name__} from {method}()", kind=Crashed
            ) from error
        finally:
            self._under_way[method] -= 1


def _is_cancelled() -> bool:
    """Return whether somebody cancelled this task: a plugin may raise the exception by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
