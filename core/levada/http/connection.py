"""One HTTP/1.1 connection as an httpx transport.

httpx's own transport surrounds every connection with a pool, locks, tracing and a time-out for
each read. This one has none of them: a request costs a third of the CPU, a broken connection
says plainly why, and cancelling a request closes its socket at once.
"""

import asyncio
import errno
import os
import re
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterable, Mapping
from typing import cast

import h11
import httpx

from levada.http.dial import Inspect, dial
from levada.http.network import NotPublic

HEAD_BYTES = 64 * 1024
"""Longest status line and headers to take."""

MOST_INTERIM = 20
"""Answers of 1xx to take before the real one."""

AT_ONCE = 64
"""Parts of an answer to take before others get their turn: a chunk may be a single byte."""

MOST_WAITING = 256 * 1024
"""Bytes to have read from the socket that were not asked for yet; with more, no more is read."""


class Closed(Exception):  # noqa: N818  # never leaves levada.http
    """The other side closed the connection before its answer was complete."""


class NotHttp(Exception):  # noqa: N818  # never leaves levada.http
    """The other side sent something that is not HTTP, or more of it than makes sense."""

    def __init__(self, reason: str = "answered with something that is not HTTP") -> None:
        super().__init__(reason)


class Connection(httpx.AsyncBaseTransport):
    """A connection, for one request at a time. After any failure it must be closed.

    `answering` tells whether the answer to the latest request has begun.
    """

    def __init__(self, stream: "_Socket") -> None:
        self._socket = stream
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self.answering: bool = False
        self._parts = 0

    @classmethod
    async def open(
        cls, url: httpx.URL, tls: ssl.SSLContext | None, inspect: Inspect | None = None
    ) -> "Connection":
        """Connect to the origin of *url*; *inspect* may refuse where that leads.

        Raises:
            OSError: among them `socket.gaierror` and `ssl.SSLError`.
        """
        host = url.raw_host.decode("ascii")
        connected = await dial(host, url.port or (443 if tls else 80), inspect)
        try:
            _, stream = await asyncio.get_running_loop().create_connection(
                _Socket, sock=connected, ssl=tls, server_hostname=host if tls else None
            )
        except BaseException:
            connected.close()
            raise
        return cls(stream)

    @property
    def is_idle(self) -> bool:
        """Whether the latest exchange ended cleanly and, for all we know, it is still open."""
        return self._h11.our_state is h11.IDLE and self._socket.is_quiet

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request*; return as soon as status and headers are there.

        Raises:
            Closed, NotHttp, OSError: there is no answer.
        """
        self.answering = False
        await self._send(request)
        for _ in range(MOST_INTERIM):
            event = await self.receive()
            if not isinstance(event, h11.InformationalResponse):
                break
        else:
            raise NotHttp("sent too many interim answers (1xx)")
        if not isinstance(event, h11.Response):
            raise NotHttp
        self.answering = True
        return httpx.Response(event.status_code, headers=list(event.headers), stream=_Body(self))

    def close(self) -> None:
        """Close it at once, whatever is under way; asyncio does it in its next turn."""
        self._socket.abort()

    async def aclose(self) -> None:
        """Close it at once, and wait for that."""
        self.close()
        await asyncio.sleep(0)

    async def _send(self, request: httpx.Request) -> None:
        target = request.extensions.get("target", request.url.raw_path)
        head = h11.Request(method=request.method, target=target, headers=request.headers.raw)
        parts = [self._h11.send(head)]
        async for chunk in cast("AsyncIterable[bytes]", request.stream):
            parts += [self._h11.send(h11.Data(data=chunk))]
        parts += [self._h11.send(h11.EndOfMessage())]
        self._socket.write(b"".join(part for part in parts if part))

    async def receive(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next part of the answer, as h11 tells it; never `h11.NEED_DATA`."""
        try:
            while (event := self._h11.next_event()) is h11.NEED_DATA:
                self._h11.receive_data(await self._socket.read())
            self._parts += 1
            if self._parts % AT_ONCE == 0:
                await asyncio.sleep(0)
        except (h11.RemoteProtocolError, ValueError):  # ValueError: a length of 5,000 digits
            raise (Closed if self._socket.is_over else NotHttp) from None
        return event

    def finish(self) -> None:
        """Get ready for the next request, if both sides said all they had to say."""
        self._socket.expecting = False
        done = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        if done and not self._h11.trailing_data[0]:  # else that would pass for the next answer
            self._h11.start_next_cycle()


class _Body(httpx.AsyncByteStream):
    """An answer's body. Not a generator: one that is dropped half-way needs cleaning up."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        event = await self._connection.receive()
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self._connection.finish()
        raise StopAsyncIteration


class _Socket(asyncio.Protocol):
    """What asyncio tells about a socket, kept until it is asked for."""

    def __init__(self) -> None:
        self.expecting: bool = False
        self.is_over: bool = False
        self._error: Exception | None = None
        self._received: deque[bytes] = deque()
        self._waiting = 0  # bytes of what was received
        self._news = asyncio.Event()

    @property
    def is_quiet(self) -> bool:
        return not self.is_over and not self._received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.expecting:
            self.abort()  # nobody asked: it must neither pile up nor pass for an answer
            return
        self._received.append(data)
        self._waiting += len(data)
        if self._waiting > MOST_WAITING:
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> None:
        self.is_over = True
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self._error = exc
        self._news.set()

    def write(self, data: bytes) -> None:
        self.expecting = True
        self._transport.write(data)

    async def read(self) -> bytes:
        """Return what came; empty: nothing more will."""
        while self.is_quiet:
            self._news.clear()
            await self._news.wait()
        if self._received:
            data = self._received.popleft()
            self._waiting -= len(data)
            if self._waiting <= MOST_WAITING:
                self._transport.resume_reading()
            return data
        if self._error:
            raise self._error
        return b""

    def abort(self) -> None:
        self.is_over = True
        self._transport.abort()


_TRUST = (
    "; make sure that the URL is right, then trust its authority (`ca_file`, where there is one, "
    "or the environment's SSL_CERT_FILE)"
)
_CERTIFICATE_ADVICE: Mapping[int, str] = {  # OpenSSL's X509_V_ERR_…
    10: "; it has to be renewed there",  # CERT_HAS_EXPIRED
    18: _TRUST,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: _TRUST,  # SELF_SIGNED_CERT_IN_CHAIN
    20: _TRUST,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: _TRUST,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
    62: "; correct the URL",  # HOSTNAME_MISMATCH
    64: "; correct the URL",  # IP_ADDRESS_MISMATCH
}


def in_words(error: Exception) -> str:  # noqa: PLR0911  # one for each of them
    """Say in a few words what happened to a connection."""
    match error:
        case ssl.SSLCertVerificationError():
            advice = _CERTIFICATE_ADVICE.get(error.verify_code, "")
            return f"certificate not trusted: {error.verify_message.rstrip('.')}{advice}"
        case ssl.SSLError():
            return f"TLS failed: {(error.reason or 'no reason given').lower().replace('_', ' ')}"
        case NotPublic():
            return "leads to an address that is not public"
        case NotHttp():
            return str(error)
        case socket.gaierror() | UnicodeError():
            return "name not found"
        case ConnectionResetError() | BrokenPipeError() | Closed():
            return "closed before the answer was complete"
        case _:
            return _errno_in_words(str(error))


def _errno_in_words(text: str) -> str:
    # Where several addresses were tried, asyncio gives one text with all their numbers in it.
    numbers = [int(number) for number in re.findall(r"\[Errno (\d+)\]", text)]
    if errno.ECONNREFUSED in numbers:
        return "connection refused"
    return os.strerror(numbers[0]).lower() if numbers else "no connection"
