"""Stevora's workflow-runs API over a `StevoraWorld`: the read endpoints, as its pages have them.

Stevora's pages do not say how runs are ordered or what follows the last page of a list: here
runs are newest first, and a page beyond the end is empty, unless `StevoraQuirks` say otherwise.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from attrs import define, field

from levada.sandbox.http import RecordedRequest, Response, json_response
from levada.sandbox.quirks import integer_id
from levada.sandbox.server import Server
from levada.sandbox.stevora.data import StevoraRun
from levada.sandbox.stevora.errors import error_response
from levada.sandbox.stevora.listing import Listing
from levada.sandbox.stevora.query import QueryError, run_filter
from levada.sandbox.stevora.quirks import StevoraQuirks
from levada.sandbox.stevora.rows import StevoraRows
from levada.sandbox.stevora.world import StevoraWorld

__all__ = ["StevoraServer"]

Endpoint = Callable[[RecordedRequest], Response]

_RUN_NOT_FOUND: Final = "Workflow run not found"


@define(eq=False)
class StevoraServer(Server):
    """A Stevora that answers for one workspace and accepts one key; both may change meanwhile."""

    world: StevoraWorld
    api_key: str = field(default="sandbox", kw_only=True, repr=False)
    quirks: StevoraQuirks = field(factory=StevoraQuirks, kw_only=True, repr=False)
    _answered: int = field(init=False, default=0)

    @property
    def base_url(self) -> str:
        """The URL that `/v1/workflow-runs` and the other paths are appended to."""
        return self.url

    def date(self) -> datetime:
        """Return what the Date header says, skewed or not."""
        return self.now() + self.quirks.skew

    async def respond(self, request: RecordedRequest) -> Response:
        """Check the key, except for the health check, then answer."""
        if request.segments == ("health",):
            return _answer(_health, request)
        key = request.headers.get("x-api-key")
        if key is None:
            return _unauthorized("Missing x-api-key header")
        if key != self.api_key:
            return _unauthorized("Invalid or revoked API key")
        self._answered += 1
        if self._answered == self.quirks.failing_request:
            return error_response(HTTPStatus.OK, "INTERNAL_ERROR", "Something went wrong")
        with self.world.lock:
            self.world.catch_up(self.now())
            return _answer(self._endpoint(request.segments), request)

    def _endpoint(self, segments: tuple[str, ...]) -> Endpoint | None:
        match segments:
            case ("v1", "workflow-runs"):
                return self._list_runs
            case ("v1", "workflow-runs", run_id) if not self.quirks.no_detail:
                return partial(self._show_run, run_id)
            case ("v1", "workflow-runs", run_id, "events"):
                return partial(self._list_events, run_id)
            case _:
                return None

    def _list_runs(self, request: RecordedRequest) -> Response:
        matches = run_filter(request, self.quirks)
        runs = [run for run in self._ordered_runs() if matches(run)]
        return self._listing(request).answer(runs, self._rows.run)

    def _show_run(self, run_id: str, _: RecordedRequest) -> Response:
        run = self.quirks.find(self.world.runs, run_id)
        if run is None:
            return error_response(HTTPStatus.NOT_FOUND, "NOT_FOUND", _RUN_NOT_FOUND)
        return json_response(HTTPStatus.OK, {"success": True, "data": self._rows.detail(run)})

    def _list_events(self, run_id: str, request: RecordedRequest) -> Response:
        run = self.quirks.find(self.world.runs, run_id)
        if run is None:
            return error_response(HTTPStatus.NOT_FOUND, "NOT_FOUND", _RUN_NOT_FOUND)
        return self._listing(request).answer(run.events, partial(self._rows.event, run))

    def _ordered_runs(self) -> list[StevoraRun]:
        if self.quirks.order == "hash":
            return sorted(self.world.runs.values(), key=lambda run: integer_id(run.id))
        oldest_first = sorted(self.world.runs.values(), key=lambda run: run.created_at)
        return oldest_first if self.quirks.order == "oldest" else oldest_first[::-1]

    def _listing(self, request: RecordedRequest) -> Listing:
        rng = self.world.rng(f"request {self._answered}")
        return Listing(request, self.quirks, rng)

    @property
    def _rows(self) -> StevoraRows:
        return StevoraRows(self.world.workspace_id, self.quirks)


def _answer(endpoint: Endpoint | None, request: RecordedRequest) -> Response:
    if endpoint is None:
        return error_response(HTTPStatus.NOT_FOUND, "NOT_FOUND", "Route not found")
    if not request.reads:
        message = f"{request.method} is not allowed"
        allow = {"Allow": "GET, HEAD"}
        status = HTTPStatus.METHOD_NOT_ALLOWED
        return error_response(status, "METHOD_NOT_ALLOWED", message, headers=allow)
    try:
        return endpoint(request)
    except QueryError as error:
        status, details = HTTPStatus.BAD_REQUEST, error.details
        return error_response(status, "VALIDATION_ERROR", str(error), details=details)


def _health(_: RecordedRequest) -> Response:
    return json_response(
        HTTPStatus.OK, {"status": "ok", "checks": {"database": "ok", "queue": "ok"}}
    )


def _unauthorized(message: str) -> Response:
    return error_response(HTTPStatus.UNAUTHORIZED, "AUTH_ERROR", message)
