"""Places for connections to one origin, and exchanges on them, each within its own deadline."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterable, Callable
from typing import cast

import httpx
from attrs import frozen

from levada.holding import Share
from levada.http.body import Body, Broken, TooLong, UnknownCoding
from levada.http.connection import Closed, Connection, NotHttp, in_words
from levada.http.dial import Inspect

IDLE_GET_S = 50.0
"""How old an idle connection may be for a GET, which can be sent again if it proves stale."""

IDLE_POST_S = 4.0
"""The same for a POST, which cannot: few servers close an idle connection earlier."""


class Lost(Exception):  # noqa: N818  # never leaves levada.http
    """No whole answer arrived; the text says why in human words, without secrets."""


@frozen
class Reply:
    """What came back; `body` may be its start where the start was enough."""

    status: int
    headers: httpx.Headers
    body: bytes


@frozen
class Wanted:
    """How much of a body is wanted; if `start_is_enough`, the rest is not worth failing over."""

    limit: int
    start_is_enough: bool = False


class Slots:
    """Up to *count* slots, the last used one first; further requests wait in line.

    *tls* makes the context for https; None: plain http. *inspect* may refuse addresses.
    """

    def __init__(
        self,
        count: int,
        *,
        tls: Callable[[], ssl.SSLContext] | None,
        inspect: Inspect | None = None,
    ) -> None:
        self._tls = tls
        self._inspect = inspect
        self._free = asyncio.Semaphore(count)
        self._idle: list[Slot] = []
        self._busy: set[Slot] = set()
        self._closed = False

    async def take(self) -> "Slot":
        """Wait for a slot. Every `take` is followed by one `give`."""
        await self._free.acquire()
        slot = self._idle.pop() if self._idle else Slot(self._tls, self._inspect)
        self._busy.add(slot)
        return slot

    def give(self, slot: "Slot") -> None:
        """Give a slot back."""
        if self._closed:
            slot.close()
        self._busy.remove(slot)
        self._idle.append(slot)
        self._free.release()

    async def aclose(self) -> None:
        """Close every connection, also those in use."""
        self._closed = True
        for slot in [*self._idle, *self._busy]:
            slot.close()
        await asyncio.sleep(0)  # asyncio closes sockets in its next turn


class Slot:
    """A place for one connection, opened when first needed and again when it broke."""

    def __init__(
        self, tls: Callable[[], ssl.SSLContext] | None, inspect: Inspect | None = None
    ) -> None:
        self._tls = tls
        self._inspect = inspect
        self._connection: Connection | None = None
        self._idle_since = 0.0

    async def exchange(
        self,
        request: httpx.Request,
        wanted: Callable[[int], Wanted],
        share: Share,
        *,
        deadline_s: float,
    ) -> Reply:
        """Send *request* and read the answer, from name resolution to last byte.

        A GET that meets a connection closed while it was idle is sent again at once; a POST is
        never sent twice. *wanted* is asked with the status. A body that waits to grow its *share*
        is not read meanwhile, and that time does not count.

        Raises:
            Lost: no whole answer arrived.
            TooLong, UnknownCoding: the answer cannot be taken.
        """
        limit = asyncio.timeout(deadline_s)
        incoming = _Incoming(wanted, share, limit)
        try:
            async with limit:
                await self._exchange(request, incoming)
        except TimeoutError:
            incoming.break_off(Lost(f"timed out after {deadline_s:g} s"))
        except (OSError, UnicodeError, Closed, NotHttp) as error:
            incoming.break_off(Lost(in_words(error)))
        except Broken:
            incoming.break_off(Lost("answered with damaged or incomplete gzip"))
        except (TooLong, UnknownCoding) as error:
            incoming.break_off(error)
        finally:
            self._settle()
        return incoming.reply()

    def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _exchange(self, request: httpx.Request, incoming: "_Incoming") -> None:
        old = await self._usable(request.method)
        if old is not None:
            try:
                return await incoming.take(await old.handle_async_request(request))
            except (OSError, Closed):
                if old.answering or request.method != "GET":
                    raise
                self.close()
        tls = self._tls() if self._tls else None
        self._connection = await Connection.open(request.url, tls, self._inspect)
        return await incoming.take(await self._connection.handle_async_request(request))

    async def _usable(self, method: str) -> Connection | None:
        if method != "GET":
            # Two turns of the loop: a close that the kernel knows of is then known to asyncio.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        oldest = time.monotonic() - (IDLE_GET_S if method == "GET" else IDLE_POST_S)
        if self._connection and (self._idle_since < oldest or not self._connection.is_idle):
            self.close()
        return self._connection

    def _settle(self) -> None:
        """Keep the connection only if its exchange ended cleanly."""
        self._idle_since = time.monotonic()
        if self._connection and not self._connection.is_idle:
            self.close()


class _Incoming:
    """An answer on its way in."""

    def __init__(
        self, wanted: Callable[[int], Wanted], share: Share, limit: asyncio.Timeout
    ) -> None:
        self._wanted = wanted
        self._share = share
        self._limit = limit
        self._response: httpx.Response | None = None
        self._start_is_enough = False
        self._body: Body | None = None

    async def take(self, response: httpx.Response) -> None:
        wanted = self._wanted(response.status_code)
        self._response = response
        self._start_is_enough = wanted.start_is_enough
        self._body = body = Body(response.headers.get("content-encoding", ""), limit=wanted.limit)
        async for chunk in cast("AsyncIterable[bytes]", response.stream):
            for size in body.feed(chunk):
                if size > self._share.most:
                    await self._grow(size)
        body.finish()

    async def _grow(self, size: int) -> None:
        loop, when = asyncio.get_running_loop(), self._limit.when()
        began = loop.time()
        self._limit.reschedule(None)
        await self._share.grow(size)
        self._limit.reschedule(when and when + loop.time() - began)

    def break_off(self, error: Exception) -> None:
        """Raise *error* unless what came before it is enough."""
        if not self._start_is_enough:
            if self._body is not None:
                self._body.drop()
            raise error from None

    def reply(self) -> Reply:
        if self._response is None:
            raise AssertionError("break_off() lets nothing pass that has not begun")
        body = bytes(self._body) if self._body else b""
        return Reply(self._response.status_code, self._response.headers, body)
