"""A server on a real socket that answers, misbehaves and keeps count as a script says."""

import asyncio
import random
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from attrs import define, field

from levada import ApiKey, Secret
from levada.http import Client, Clock, Http

CANARY = "cnry_0123456789"

Step = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What one request gets: bytes, or whatever a coroutine does with the connection."""


def answer(status: int = 200, body: bytes = b"ok", **headers: str) -> bytes:
    """Return a whole answer; header names with _ for -."""
    lines = [f"HTTP/1.1 {status} Anything", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@define
class Request:
    """What the server got."""

    line: str
    headers: Mapping[str, str]
    body: bytes


@define
class Server:
    """The server as the test sees it; after its last step it repeats that."""

    script: list[Step]
    port: int = 0
    scheme: str = "http"
    requests: list[Request] = field(factory=list)
    connections: int = 0
    open: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        step = self.script[min(len(self.requests), len(self.script) - 1)]
        self.requests.append(Request(line, headers, body))
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        else:
            await step(writer)


@asynccontextmanager
async def serve(*script: Step, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve *script* on a free port of 127.0.0.1."""
    server = Server(list(script) or [answer()], scheme="https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await server.serve(reader, writer)

    listener = await asyncio.start_server(keep, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# Steps


def then_close(data: bytes = b"") -> Step:
    """Send *data*, then close."""

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        raise ConnectionAbortedError

    return step


def then_reset(data: bytes = b"") -> Step:
    """Send *data*, then reset the connection."""

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        linger_not = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
        raise ConnectionAbortedError

    return step


def then_hang(data: bytes = b"") -> Step:
    """Send *data*, then nothing more."""

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await asyncio.Event().wait()

    return step


def drip(data: bytes) -> Step:
    """Send *data*, then a byte each 20 ms for ever."""

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        while True:
            await asyncio.sleep(0.02)
            writer.write(b"x")
            await writer.drain()

    return step


# The other side


class Time:
    """A clock for tests; it moves only when somebody sleeps. `sleeps` is what was slept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        self.clock = Clock(utc=self.utc, monotonic=self.read, sleep=self.sleep, rng=_Most())

    def utc(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now - 1000)

    def read(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(round(seconds, 3))
        self.now += seconds
        await asyncio.sleep(0)


class _Most(random.Random):
    """Back-off always chooses its longest wait."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


@asynccontextmanager
async def patient(
    server: Server,
    *,
    give_up_s: float = 0,
    limit_bytes: int = 1 << 20,
    deadline_s: float = 5,
    time: Time | None = None,
    key: str | Secret = CANARY,
    slots: int = 4,
) -> AsyncIterator[Client]:
    """Make a client of *server* with a key; unless told otherwise it does not try again."""
    http = Http(
        request_timeout=timedelta(seconds=deadline_s),
        max_response_bytes=limit_bytes,
        slots=slots,
        give_up=timedelta(seconds=give_up_s),
        clock=time.clock if time else None,
    )
    secret = key if isinstance(key, Secret) else Secret(key)
    try:
        yield http.client(server.url, auth=ApiKey("X-API-Key", secret))
    finally:
        await http.aclose()


def leaks(text: str) -> list[str]:
    """Return what of a key or a query is in *text*."""
    return re.findall(r"cnry\w*|\?|cursor|secret-query", text)
