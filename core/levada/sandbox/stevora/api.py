"""Stevora's workflow-runs API over a `StevoraWorld`: the read endpoints, as its pages have them.

Stevora's pages do not say how runs are ordered or what follows the last page of a list: here
runs are newest first, and a page beyond the end is empty.
"""

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import msgspec
from attrs import define, field

from levada.sandbox.http import RecordedRequest, Response, json_response, raw_json_response
from levada.sandbox.server import Server
from levada.sandbox.stevora.query import PageRequest, QueryError, page_request, run_filter
from levada.sandbox.stevora.rows import run_detail, run_row
from levada.sandbox.stevora.world import StevoraWorld

__all__ = ["StevoraServer"]

Endpoint = Callable[[RecordedRequest], Response]

_RUN_NOT_FOUND: Final = "Workflow run not found"


@define(eq=False)
class StevoraServer(Server):
    """A Stevora that answers for one workspace and accepts one key."""

    world: StevoraWorld
    api_key: str = field(default="sandbox", kw_only=True, repr=False)

    @property
    def base_url(self) -> str:
        """The URL that `/v1/workflow-runs` and the other paths are appended to."""
        return self.url

    async def respond(self, request: RecordedRequest) -> Response:
        """Check the key, except for the health check, then answer."""
        if request.segments == ("health",):
            return _answer(_health, request)
        key = request.headers.get("x-api-key")
        if key is None:
            return _error(HTTPStatus.UNAUTHORIZED, "AUTH_ERROR", "Missing x-api-key header")
        if key != self.api_key:
            return _error(HTTPStatus.UNAUTHORIZED, "AUTH_ERROR", "Invalid or revoked API key")
        with self.world.lock:
            return _answer(self._endpoint(request.segments), request)

    def _endpoint(self, segments: tuple[str, ...]) -> Endpoint | None:
        match segments:
            case ("v1", "workflow-runs"):
                return self._list_runs
            case ("v1", "workflow-runs", run_id):
                return partial(self._show_run, run_id)
            case ("v1", "workflow-runs", run_id, "events"):
                return partial(self._list_events, run_id)
            case _:
                return None

    def _list_runs(self, request: RecordedRequest) -> Response:
        page, matches = page_request(request), run_filter(request)
        runs = [run for run in reversed(self.world.runs.values()) if matches(run)]
        rows = [run_row(run, self.world.workspace_id) for run in page.cut(runs)]
        return _list(msgspec.json.encode(rows), page, total=len(runs))

    def _show_run(self, run_id: str, _: RecordedRequest) -> Response:
        run = self.world.runs.get(run_id)
        if run is None:
            return _error(HTTPStatus.NOT_FOUND, "NOT_FOUND", _RUN_NOT_FOUND)
        detail = run_detail(run, self.world.workspace_id)
        return json_response(HTTPStatus.OK, {"success": True, "data": detail})

    def _list_events(self, run_id: str, request: RecordedRequest) -> Response:
        page, run = page_request(request), self.world.runs.get(run_id)
        if run is None:
            return _error(HTTPStatus.NOT_FOUND, "NOT_FOUND", _RUN_NOT_FOUND)
        rows = b",".join([event.json for event in page.cut(run.events)])
        return _list(b"[%b]" % rows, page, total=len(run.events))


def _answer(endpoint: Endpoint | None, request: RecordedRequest) -> Response:
    if endpoint is None:
        return _error(HTTPStatus.NOT_FOUND, "NOT_FOUND", "Route not found")
    if not request.reads:
        message = f"{request.method} is not allowed"
        allow = {"Allow": "GET, HEAD"}
        return _error(HTTPStatus.METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message, headers=allow)
    try:
        return endpoint(request)
    except QueryError as error:
        return _error(HTTPStatus.BAD_REQUEST, "VALIDATION_ERROR", str(error), details=error.details)


def _health(_: RecordedRequest) -> Response:
    return json_response(
        HTTPStatus.OK, {"status": "ok", "checks": {"database": "ok", "queue": "ok"}}
    )


def _list(rows: bytes, page: PageRequest, *, total: int) -> Response:
    meta = msgspec.json.encode(page.meta(total))
    return raw_json_response(b'{"success":true,"data":%b,"meta":%b}' % (rows, meta))


def _error(
    status: HTTPStatus,
    code: str,
    message: str,
    *,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    error = {"code": code, "message": message, "details": details or {}}
    return json_response(status, {"success": False, "error": error}, headers)
