"""The sandbox's HTTP server: a life cycle, a request log and one method to implement."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Self

import h11
from attrs import define, field

from levada.sandbox.faults import Fault, Faults, befall, next_fault
from levada.sandbox.http import Connection, RecordedRequest, Response, json_response

__all__ = ["Server", "utc_now"]

logger: logging.Logger = logging.getLogger("levada.sandbox")


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


@define(kw_only=True, eq=False)
class Server(ABC):
    """An HTTP server in the running event loop: `async with server`, or `start` and `stop`.

    With `port` 0 the system picks a free port; from the first start on `port` holds the real one,
    so that a stopped server comes back at the same address. `requests` holds every well-formed
    request, oldest first, and is never trimmed. `now` is asked for the Date header, for the time
    of a recorded request and for everything else that depends on the time.

    `faults` decides which requests go wrong, and may be changed at any time: a function of the
    request, or a list that is used up request by request.
    """

    host: str = "127.0.0.1"
    port: int = 0
    now: Callable[[], datetime] = field(default=utc_now, repr=False)
    faults: Faults = field(factory=list[Fault], repr=False)
    requests: list[RecordedRequest] = field(init=False, factory=list, repr=False)
    _listener: asyncio.Server | None = field(init=False, default=None, repr=False)
    _connections: dict[asyncio.Task[None], asyncio.StreamWriter] = field(
        init=False, factory=dict, repr=False
    )

    @abstractmethod
    async def respond(self, request: RecordedRequest) -> Response:
        """Answer one request: called once for each, one at a time per connection.

        HEAD is answered like GET; the body is left out afterwards. An exception is logged and
        answered with 500.
        """

    @property
    def url(self) -> str:
        """The address, without a path or a slash at its end.

        Raises:
            RuntimeError: The port is the system's choice and the server has not started yet.
        """
        if not self.port:
            raise RuntimeError(f"{type(self).__name__} has no address before it starts")
        return f"http://{self.host}:{self.port}"

    def date(self) -> datetime:
        """Return what the Date header says."""
        return self.now()

    def seconds(self) -> float:
        """Count seconds by the clock that was given as `now`, else by one that never jumps."""
        return time.monotonic() if self.now is utc_now else self.now().timestamp()

    async def start(self) -> None:
        """Listen; connections are accepted once this returns.

        Raises:
            RuntimeError: The server is running.
            OSError: The port is taken, or the host is not one of this machine's.
        """
        if self._listener is not None:
            raise RuntimeError(f"{type(self).__name__} is running at {self.url}")
        # asyncio sets TCP_NODELAY on every connection it accepts.
        self._listener = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and drop every connection, answered or not; harmless if stopped."""
        if self._listener is None:
            return
        self._listener.close()
        while self._connections:
            task, writer = self._connections.popitem()
            writer.transport.abort()
            task.cancel()
            await asyncio.wait([task])
        await self._listener.wait_closed()
        self._listener = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._converse(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(lambda done: self._connections.pop(done, None))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):  # the client has gone
                await self._serve(Connection(reader, writer))
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, connection: Connection) -> None:
        try:
            while (request := await connection.receive(self.now)) is not None:
                self.requests.append(request)
                await self._exchange(connection, request)
                if not connection.reusable:
                    return
        except h11.RemoteProtocolError as error:
            await connection.refuse(error, date=self.date())

    async def _exchange(self, connection: Connection, request: RecordedRequest) -> None:
        fault = next_fault(self.faults, request) or Fault()
        await befall(
            fault,
            connection,
            partial(self._respond_safely, request),
            date=self.date,
            with_body=request.method != "HEAD",
        )

    async def _respond_safely(self, request: RecordedRequest) -> Response:
        try:
            return await self.respond(request)
        except Exception:
            logger.exception("sandbox.request_failed %s %s", request.method, request.path)
            return json_response(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "internal error"})
