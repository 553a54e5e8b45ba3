"""Kapso's workflow API over a `KapsoWorld`: the read endpoints, as its API reference has them.

What the reference leaves open is decided on the strict side: a limit outside 1 to 100, both
cursors at once and values that cannot be read are answered with 400. `KapsoQuirks` has what a
real Kapso might do instead.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from attrs import define, evolve, field

from levada.sandbox.http import RecordedRequest, Response, json_response
from levada.sandbox.kapso.listing import Listing
from levada.sandbox.kapso.log_search import LogSearch
from levada.sandbox.kapso.query import (
    QueryError,
    event_filter,
    execution_filter,
    workflow_filter,
)
from levada.sandbox.kapso.quirks import KapsoQuirks
from levada.sandbox.kapso.rows import KapsoRows
from levada.sandbox.kapso.world import KapsoWorld
from levada.sandbox.limits import RateLimit
from levada.sandbox.server import Server

__all__ = ["KapsoServer"]

Endpoint = Callable[[RecordedRequest], Response]

_BASE_PATH: Final = ("platform", "v1")


@define(eq=False)
class KapsoServer(Server):
    """A Kapso that answers for one project and accepts one key; both may change meanwhile.

    `rate_limit` counts requests with the right key; None switches it off, headers included.
    """

    world: KapsoWorld
    api_key: str = field(default="sandbox", kw_only=True, repr=False)
    rate_limit: RateLimit | None = field(default=None, kw_only=True)
    quirks: KapsoQuirks = field(factory=KapsoQuirks, kw_only=True, repr=False)

    @property
    def base_url(self) -> str:
        """The URL that `/workflows` and the other paths are appended to."""
        return "/".join((self.url, *_BASE_PATH))

    def date(self) -> datetime:
        """Return what the Date header says, skewed or not."""
        return self.now() + self.quirks.skew

    async def respond(self, request: RecordedRequest) -> Response:
        """Check the key, then the rate limit, then answer."""
        if request.headers.get("x-api-key") != self.api_key:
            return _error(HTTPStatus.UNAUTHORIZED, "Missing or invalid API key")
        if self.rate_limit is None:
            return self._answer(request)
        if not self.rate_limit.take(self.seconds):
            busy = _error(HTTPStatus.TOO_MANY_REQUESTS, "Rate limit exceeded")
            return _with_headers(busy, {**self.rate_limit.headers, "Retry-After": "60"})
        return _with_headers(self._answer(request), self.rate_limit.headers)

    def _answer(self, request: RecordedRequest) -> Response:
        endpoint = self._endpoint(request.segments)
        if endpoint is None:
            return _error(HTTPStatus.NOT_FOUND, "Not found")
        may_post = endpoint == self._search_logs
        if not request.reads and not (may_post and request.method == "POST"):
            refused = _error(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not allowed")
            return _with_headers(refused, {"Allow": "GET, HEAD, POST" if may_post else "GET, HEAD"})
        try:
            with self.world.lock:
                self.world.catch_up(self.now())
                return endpoint(request)
        except QueryError as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))

    def _endpoint(self, segments: tuple[str, ...]) -> Endpoint | None:
        q = self.quirks
        endpoint: Endpoint | None = None
        match segments[len(_BASE_PATH) :]:
            case ("workflows",) if not q.no_workflows:
                endpoint = self._list_workflows
            case ("workflows", workflow_id):
                endpoint = partial(self._show_workflow, workflow_id)
            case ("workflows", workflow_id, "executions"):
                endpoint = partial(self._list_executions, workflow_id)
            case ("workflow_executions", execution_id) if not q.no_detail:
                endpoint = partial(self._show_execution, execution_id)
            case ("workflow_executions", execution_id, "events"):
                endpoint = partial(self._list_events, execution_id)
            case ("log_search",) if q.log_search != "absent":
                endpoint = self._search_logs
        return endpoint if segments[: len(_BASE_PATH)] == _BASE_PATH else None

    def _list_workflows(self, request: RecordedRequest) -> Response:
        matches = workflow_filter(request.query)
        newest_first = sorted(
            self.world.workflows.values(), key=lambda workflow: workflow.created_at, reverse=True
        )
        rows = [self._rows.workflow(x) for x in newest_first if matches(x)]
        return json_response(HTTPStatus.OK, {"data": rows})

    def _show_workflow(self, workflow_id: str, _: RecordedRequest) -> Response:
        workflow = self.quirks.find(self.world.workflows, workflow_id)
        if workflow is None:
            return _error(HTTPStatus.NOT_FOUND, "Workflow not found")
        return json_response(HTTPStatus.OK, {"data": self._rows.workflow(workflow)})

    def _list_executions(self, workflow_id: str, request: RecordedRequest) -> Response:
        workflow = self.quirks.find(self.world.workflows, workflow_id)
        if workflow is None:
            return _error(HTTPStatus.NOT_FOUND, "Workflow not found")
        listing, matches = self._listing(request), execution_filter(request.query)
        return listing.answer(workflow.executions, matches, self._rows.execution)

    def _show_execution(self, execution_id: str, _: RecordedRequest) -> Response:
        execution = self.quirks.find(self.world.executions, execution_id)
        if execution is None:
            return _error(HTTPStatus.NOT_FOUND, "Workflow execution not found")
        return json_response(HTTPStatus.OK, {"data": self._rows.detail(execution)})

    def _list_events(self, execution_id: str, request: RecordedRequest) -> Response:
        execution = self.quirks.find(self.world.executions, execution_id)
        if execution is None:
            return _error(HTTPStatus.NOT_FOUND, "Workflow execution not found")
        listing, matches = self._listing(request), event_filter(request.query)
        return listing.answer(execution.events, matches, self._rows.event)

    def _search_logs(self, request: RecordedRequest) -> Response:
        return LogSearch(self.world, self.now(), self.quirks).answer(request)

    def _listing(self, request: RecordedRequest) -> Listing:
        return Listing(request, self.url, self.quirks)

    @property
    def _rows(self) -> KapsoRows:
        return KapsoRows(self.world.project_id, self.now(), self.quirks)


def _error(status: HTTPStatus, message: str) -> Response:
    return json_response(status, {"error": message})


def _with_headers(response: Response, headers: dict[str, str]) -> Response:
    return evolve(response, headers={**response.headers, **headers})
