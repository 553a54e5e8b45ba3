"""What the tests of the source `kapso` share: a desk at a server, and answers written by hand."""

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field

from levada import Partition, Secret
from levada.sandbox import KapsoServer, RecordedRequest, Response, Server
from levada_kapso.source import KapsoSource
from plugins.desk import Desk, at_desk

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def opened(base_url: str, **options: Any) -> AbstractAsyncContextManager[Desk]:
    options.setdefault("api_key", Secret("sandbox"))
    return at_desk(KapsoSource(base_url=base_url, **options))


@define(eq=False)
class Flaky(KapsoServer):
    """Answers one request with 500: the one after `fails_after` others."""

    fails_after: int = field(default=-1, kw_only=True)

    async def respond(self, request: RecordedRequest) -> Response:
        self.fails_after -= 1
        return Response(500) if self.fails_after == -1 else await super().respond(request)


def listed(key: str, **more: Any) -> Partition:
    """Return an execution as discovery shows it."""
    return Partition(key, memo={"workflow": "w", "status": "running"}, **more)


def says(
    content: Any = None, *, status: int = 200, body: bytes | None = None
) -> Callable[[RecordedRequest], Response]:
    """Answer *content*, as it is when it is asked for, or *body*."""
    headers = {"Content-Type": "application/json"}
    return lambda _: Response(
        status, json.dumps(content).encode() if body is None else body, headers
    )


def only_lists(
    answer: Callable[[RecordedRequest], Response],
) -> Callable[[RecordedRequest], Response]:
    """Answer as *answer* does, but 404 to the detail of an execution."""

    def respond(request: RecordedRequest) -> Response:
        if request.segments[-2] == "workflow_executions":
            return says({"error": "Not found"}, status=404)(request)
        return answer(request)

    return respond


def row(number: int, *, seconds: float = 0, **more: Any) -> dict[str, Any]:
    time = (T0 + seconds * SECOND).isoformat()
    return {"id": f"e{number}", "event_type": "step_completed", "created_at": time, **more}


def asked(server: Server) -> list[str]:
    """Return and forget the requests: paths without the prefix, and queries."""
    requests = [
        request.path.removeprefix("/platform/v1")
        + "".join(f" {name}={value}" for name, value in request.query_pairs)
        for request in server.requests
    ]
    server.requests.clear()
    return requests


def ids(events: Iterable[Any]) -> list[str]:
    return [event.id for event in events]
