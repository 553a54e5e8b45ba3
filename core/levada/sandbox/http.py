"""Requests, responses and one HTTP/1.1 connection: h11's state machine on an asyncio stream."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.client import responses as reason_phrases
from typing import Any
from urllib.parse import parse_qsl, unquote

import h11
import msgspec
from attrs import define, field, frozen

__all__ = ["Connection", "RecordedRequest", "Response", "json_response", "raw_json_response"]

_READ_BYTES = 65_536
_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing sends a reset."""
_BODILESS = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}


@frozen(kw_only=True)
class RecordedRequest:
    """A request as it arrived.

    `path` is percent-decoded; `segments` are its parts, split before decoding, so that an encoded
    slash stays inside its part. `query` holds the last value of each name, `query_pairs` all of
    them in order. Header names are lower-case; repeated headers are joined with a comma.
    """

    method: str
    path: str
    segments: tuple[str, ...]
    query: dict[str, str]
    query_pairs: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: bytes
    time: datetime

    @property
    def reads(self) -> bool:
        """Whether the method only reads: GET or HEAD."""
        return self.method in {"GET", "HEAD"}


@frozen
class Response:
    """An answer; Date, Content-Length and leaving out HEAD's body are the connection's business."""

    status: int
    body: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(factory=dict)


def json_response(status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Answer `content` encoded as JSON."""
    return raw_json_response(msgspec.json.encode(content), status=status, headers=headers)


def raw_json_response(
    body: bytes, *, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer a body that is JSON already."""
    return Response(status, body, {"Content-Type": "application/json", **(headers or {})})


@define(eq=False)
class Connection:
    """One client's connection. Call `receive` and `send` in turn while `reusable` holds.

    Raises:
        h11.RemoteProtocolError: From `receive`, when the client does not speak HTTP/1.1.
        OSError: From both, when the client has gone.
    """

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _http: h11.Connection = field(init=False, factory=lambda: h11.Connection(h11.SERVER))

    @property
    def reusable(self) -> bool:
        """Whether both sides have finished a message and neither wants to close."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def receive(self, now: Callable[[], datetime]) -> RecordedRequest | None:
        """Read the next request; None when the client has closed instead of sending one."""
        if self.reusable:
            self._http.start_next_cycle()
        head: h11.Request | None = None
        body: list[bytes] = []
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _recorded(head, b"".join(body), now())
            else:
                return None

    async def send(self, response: Response, *, date: datetime, with_body: bool = True) -> None:
        """Write the whole response at once; `with_body` is false in answer to HEAD."""
        head, body = self._wire(response, date, with_body=with_body)
        self._writer.write(head + body)
        await self._writer.drain()

    async def send_half(self, response: Response, *, date: datetime) -> None:
        """Write the head and half of the body, half of the head where there is no body."""
        head, body = self._wire(response, date, with_body=True)
        self._http.send_failed()
        self._writer.write(head + body[: len(body) // 2] if body else head[: len(head) // 2])
        await self._writer.drain()

    async def wait_for_close(self) -> None:
        """Ignore the client until it has gone."""
        while await self._reader.read(_READ_BYTES):
            pass

    def reset(self) -> None:
        """Break the connection so that the client sees an error, not an end."""
        connected: socket.socket = self._writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self._writer.transport.abort()

    async def refuse(self, error: h11.RemoteProtocolError, *, date: datetime) -> None:
        """Answer a client that broke the protocol, where an answer is still possible."""
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            closing = {"Connection": "close"}
            await self.send(
                Response(error.error_status_hint, str(error).encode(), closing), date=date
            )

    def _wire(self, response: Response, date: datetime, *, with_body: bool) -> tuple[bytes, bytes]:
        has_body = with_body and response.status not in _BODILESS
        head = self._http.send(_head(response, date)) or b""
        body = (self._http.send(h11.Data(data=response.body)) or b"") if has_body else b""
        return head, body + (self._http.send(h11.EndOfMessage()) or b"")

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[])
                self._writer.write(self._http.send(go_on) or b"")
            self._http.receive_data(await self._reader.read(_READ_BYTES))
        return event


def _head(response: Response, date: datetime) -> h11.Response:
    headers = [("Date", format_datetime(date, usegmt=True)), *response.headers.items()]
    if response.status not in _BODILESS:
        headers.append(("Content-Length", str(len(response.body))))
    reason = reason_phrases.get(response.status, "")
    return h11.Response(status_code=response.status, headers=headers, reason=reason)


def _recorded(head: h11.Request, body: bytes, time: datetime) -> RecordedRequest:
    raw_path, _, raw_query = _origin_form(head.target.decode("ascii", "replace")).partition("?")
    query_pairs = tuple(parse_qsl(raw_query, keep_blank_values=True))
    return RecordedRequest(
        method=head.method.decode("ascii"),
        path=unquote(raw_path),
        segments=tuple(unquote(part) for part in raw_path.split("/")[1:]),
        query=dict(query_pairs),
        query_pairs=query_pairs,
        headers=_joined_headers(head),
        body=body,
        time=time,
    )


def _origin_form(target: str) -> str:
    """Reduce an absolute target (`http://host/path`) to `/path`."""
    if target.startswith("/"):
        return target
    return "/" + target.partition("://")[2].partition("/")[2]


def _joined_headers(head: h11.Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
