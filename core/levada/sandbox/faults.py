"""What can go wrong with a request on its way: refusals, silence, broken connections."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from http.client import responses as reason_phrases
from typing import Literal

from attrs import frozen

from levada.sandbox.http import Connection, RecordedRequest, Response, json_response

__all__ = ["Fault", "Faults", "befall", "next_fault"]

Ending = Literal["hang", "reset", "close"]


@frozen(kw_only=True)
class Fault:
    """What happens to one request; nothing special, unless told.

    `answer` takes the place of the server's own answer, which is not made then. `ending` is what
    happens to the connection: it stays open in silence until the client closes it, it is reset,
    or it is closed. With `is_midway` that is after the status line, the headers and half of the
    body, of an answer that the server did make; else without a single byte, and the server never
    sees the request.
    """

    answer: Response | None = None
    ending: Ending | None = None
    is_midway: bool = False

    @classmethod
    def status(cls, status: int, *, retry_after: str | None = None) -> "Fault":
        """Answer with an error, and with a Retry-After of any text."""
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        content = {"error": reason_phrases.get(status, "")}
        return cls(answer=json_response(status, content, headers))

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
    if fault.ending is None:
        await connection.send(fault.answer or await respond(), date=date(), with_body=with_body)
        return
    if fault.is_midway:
        await connection.send_half(fault.answer or await respond(), date=date())
    if fault.ending == "hang":
        await connection.wait_for_close()
    elif fault.ending == "reset":
        connection.reset()
