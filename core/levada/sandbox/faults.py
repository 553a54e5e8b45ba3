"""What can go wrong with a request on its way: refusals, silence, nonsense, broken connections."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from gzip import compress
from http import HTTPStatus
from http.client import responses as reason_phrases
from typing import Final, Literal

from attrs import evolve, frozen

from levada.sandbox.http import Connection, RecordedRequest, Response, json_response

__all__ = ["Fault", "Faults", "befall", "next_fault"]

Ending = Literal["hang", "reset", "close"]

_MIB: Final = 1 << 20
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@frozen(kw_only=True)
class Fault:
    """What happens to one request; nothing special, unless told.

    `answer` takes the place of the server's own answer, which is not made then; `change` alters
    the server's own. `ending` is what happens to the connection: it stays open in silence until
    the client closes it, it is reset, or it is closed. With `is_midway` that is after the status
    line, the headers and half of the body, of an answer that the server did make; else without a
    single byte, and the server never sees the request. `flow` is an answer without an end: its
    next piece as it goes on the wire, and how many seconds to wait before each.
    """

    answer: Response | None = None
    change: Callable[[Response], Response] | None = None
    ending: Ending | None = None
    is_midway: bool = False
    flow: tuple[bytes, float] | None = None

    @classmethod
    def status(cls, status: int, *, retry_after: str | None = None) -> "Fault":
        """Answer with an error, and with a Retry-After of any text."""
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        content = {"error": reason_phrases.get(status, "")}
        return cls(answer=json_response(status, content, headers))

    @classmethod
    def redirect(cls, location: str, *, status: int = HTTPStatus.FOUND) -> "Fault":
        """Send the client somewhere else."""
        return cls(answer=Response(status, b"", {"Location": location}))

    @classmethod
    def body(
        cls,
        body: bytes,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> "Fault":
        """Answer 200 with any body."""
        return cls(answer=Response(200, body, {"Content-Type": content_type, **(headers or {})}))

    @classmethod
    def bomb(cls, *, layers: int = 1, size: int = 64 * _MIB) -> "Fault":
        """Answer *size* bytes of white space, packed so many times."""
        packing = zlib.compressobj(9, wbits=31)
        packed = b"".join(packing.compress(b" " * _MIB) for _ in range(size // _MIB))
        packed += packing.flush()
        for _ in range(layers - 1):
            packed = compress(packed)
        return cls.body(packed, headers={"Content-Encoding": ", ".join(["gzip"] * layers)})

    @classmethod
    def header_flood(cls, number: int = 5_000, *, length: int = 20) -> "Fault":
        """Put so many headers, each with a value of so many bytes, on the server's own answer."""
        flood = {f"X-Flood-{each}": "x" * length for each in range(number)}
        return cls(change=lambda own: evolve(own, headers={**own.headers, **flood}))

    @classmethod
    def rewrite(cls, change: Callable[[bytes], bytes]) -> "Fault":
        """Alter the body of the server's own answer, if it is a good one."""
        return cls(
            change=lambda own: evolve(own, body=change(own.body)) if own.status == 200 else own  # noqa: PLR2004
        )

    @classmethod
    def relabel(cls, content_type: str) -> "Fault":
        """Call the server's own answer something else."""
        return cls(
            change=lambda own: evolve(own, headers={**own.headers, "Content-Type": content_type})
        )

    @classmethod
    def truncate(cls) -> "Fault":
        """Cut the body in half and say that it is whole."""
        return cls.rewrite(lambda body: body[: len(body) // 2])

    @classmethod
    def endless(cls, *, chunk: int = 65_536) -> "Fault":
        """Send white space as fast as the client takes it, for ever, in chunks of so many bytes."""
        framed = _framed(b" " * chunk)
        return cls(flow=(framed * max(1, 65_536 // len(framed)), 0.0))

    @classmethod
    def drip(cls, *, every_s: float = 0.05) -> "Fault":
        """Send a byte of white space now and then, for ever."""
        return cls(flow=(_framed(b" "), every_s))

    @classmethod
    def hang(cls, *, is_midway: bool = False) -> "Fault":
        """Never answer."""
        return cls(ending="hang", is_midway=is_midway)

    @classmethod
    def reset(cls, *, is_midway: bool = False) -> "Fault":
        """Reset the connection: the client's next read fails."""
        return cls(ending="reset", is_midway=is_midway)

    @classmethod
    def close(cls, *, is_midway: bool = False) -> "Fault":
        """Close the connection in an orderly way, but too early."""
        return cls(ending="close", is_midway=is_midway)


Faults = Callable[[RecordedRequest], Fault | None] | list[Fault] | list[Fault | None]
"""A decision for each request, or what happens to the next ones; None lets one pass."""


def next_fault(faults: Faults, request: RecordedRequest) -> Fault | None:
    """Return what happens to a request, and take it out of the list if it is one."""
    if callable(faults):
        return faults(request)
    return faults.pop(0) if faults else None


async def befall(
    fault: Fault,
    connection: Connection,
    respond: Callable[[], Awaitable[Response]],
    *,
    date: Callable[[], datetime],
    with_body: bool,
) -> None:
    """Let a fault happen to the request that `connection` has just received."""

    async def answer() -> Response:
        own = fault.answer or await respond()
        return fault.change(own) if fault.change else own

    if fault.flow is not None:
        await _flow(connection, *fault.flow)
        return
    if fault.ending is None:
        await connection.send(await answer(), date=date(), with_body=with_body)
        return
    if fault.is_midway:
        await connection.send_half(await answer(), date=date())
    if fault.ending == "hang":
        await connection.wait_for_close()
    elif fault.ending == "reset":
        connection.reset()


async def _flow(connection: Connection, piece: bytes, every_s: float) -> None:
    pouring = asyncio.create_task(_pour(connection, piece, every_s))
    try:
        await connection.wait_for_close()
    finally:
        pouring.cancel()
        await asyncio.wait([pouring])


def _framed(chunk: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(chunk), chunk)


async def _pour(connection: Connection, piece: bytes, every_s: float) -> None:
    writer = connection._writer  # noqa: SLF001  # goes below the protocol, which wants an end
    writer.write(_HEAD)
    while True:
        await asyncio.sleep(every_s)
        writer.write(piece)
        await writer.drain()
