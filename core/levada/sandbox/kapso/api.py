"""Kapso's workflow API over a `KapsoWorld`: the read endpoints, as its API reference has them.

What the reference leaves open is decided on the strict side: a limit outside 1 to 100, both
cursors at once and values that cannot be read are answered with 400.
"""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec
from attrs import define, evolve, field

from levada.sandbox.http import RecordedRequest, Response, json_response, raw_json_response
from levada.sandbox.kapso.paging import page_of
from levada.sandbox.kapso.query import (
    Query,
    QueryError,
    event_filter,
    execution_filter,
    page_request,
    workflow_filter,
)
from levada.sandbox.kapso.rows import execution_detail, execution_row, workflow_row
from levada.sandbox.kapso.world import KapsoWorld
from levada.sandbox.limits import RateLimit
from levada.sandbox.server import Server

__all__ = ["KapsoServer"]

Endpoint = Callable[[Query], Response]

_BASE_PATH: Final = ("platform", "v1")


@define(eq=False)
class KapsoServer(Server):
    """A Kapso that answers for one project and accepts one key.

    `rate_limit` counts requests with the right key; None switches it off, headers included.
    """

    world: KapsoWorld
    api_key: str = field(default="sandbox", kw_only=True, repr=False)
    rate_limit: RateLimit | None = field(default=None, kw_only=True)

    @property
    def base_url(self) -> str:
        """The URL that `/workflows` and the other paths are appended to."""
        return "/".join((self.url, *_BASE_PATH))

    async def respond(self, request: RecordedRequest) -> Response:
        """Check the key, then the rate limit, then answer."""
        if request.headers.get("x-api-key") != self.api_key:
            return _error(HTTPStatus.UNAUTHORIZED, "Missing or invalid API key")
        if self.rate_limit is None:
            return self._answer(request)
        if not self.rate_limit.take():
            busy = _error(HTTPStatus.TOO_MANY_REQUESTS, "Rate limit exceeded")
            return _with_headers(busy, {**self.rate_limit.headers, "Retry-After": "60"})
        return _with_headers(self._answer(request), self.rate_limit.headers)

    def _answer(self, request: RecordedRequest) -> Response:
        endpoint = self._endpoint(request.segments)
        if endpoint is None:
            return _error(HTTPStatus.NOT_FOUND, "Not found")
        if not request.reads:
            refused = _error(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not allowed")
            return _with_headers(refused, {"Allow": "GET, HEAD"})
        try:
            with self.world.lock:
                return endpoint(request.query)
        except QueryError as error:
            return _error(HTTPStatus.BAD_REQUEST, str(error))

    def _endpoint(self, segments: tuple[str, ...]) -> Endpoint | None:
        match segments:
            case ("platform", "v1", "workflows"):
                return self._list_workflows
            case ("platform", "v1", "workflows", workflow_id):
                return partial(self._show_workflow, workflow_id)
            case ("platform", "v1", "workflows", workflow_id, "executions"):
                return partial(self._list_executions, workflow_id)
            case ("platform", "v1", "workflow_executions", execution_id):
                return partial(self._show_execution, execution_id)
            case ("platform", "v1", "workflow_executions", execution_id, "events"):
                return partial(self._list_events, execution_id)
            case _:
                return None

    def _list_workflows(self, query: Query) -> Response:
        matches = workflow_filter(query)
        newest_first = sorted(
            self.world.workflows.values(), key=lambda workflow: workflow.created_at, reverse=True
        )
        rows = [workflow_row(x, self.world.project_id) for x in newest_first if matches(x)]
        return json_response(HTTPStatus.OK, {"data": rows})

    def _show_workflow(self, workflow_id: str, _: Query) -> Response:
        workflow = self.world.workflows.get(workflow_id)
        if workflow is None:
            return _error(HTTPStatus.NOT_FOUND, "Workflow not found")
        return json_response(HTTPStatus.OK, {"data": workflow_row(workflow, self.world.project_id)})

    def _list_executions(self, workflow_id: str, query: Query) -> Response:
        workflow = self.world.workflows.get(workflow_id)
        if workflow is None:
            return _error(HTTPStatus.NOT_FOUND, "Workflow not found")
        page = page_of(workflow.executions, page_request(query), execution_filter(query))
        rows = [execution_row(execution) for execution in page.rows]
        return json_response(HTTPStatus.OK, {"data": rows, "paging": page.paging()})

    def _show_execution(self, execution_id: str, _: Query) -> Response:
        execution = self.world.executions.get(execution_id)
        if execution is None:
            return _error(HTTPStatus.NOT_FOUND, "Workflow execution not found")
        return json_response(HTTPStatus.OK, {"data": execution_detail(execution)})

    def _list_events(self, execution_id: str, query: Query) -> Response:
        execution = self.world.executions.get(execution_id)
        if execution is None:
            return _error(HTTPStatus.NOT_FOUND, "Workflow execution not found")
        page = page_of(execution.events, page_request(query), event_filter(query))
        rows = b",".join([event.json for event in page.rows])
        paging = msgspec.json.encode(page.paging())
        return raw_json_response(b"".join((b'{"data":[', rows, b'],"paging":', paging, b"}")))


def _error(status: HTTPStatus, message: str) -> Response:
    return json_response(status, {"error": message})


def _with_headers(response: Response, headers: dict[str, str]) -> Response:
    return evolve(response, headers={**response.headers, **headers})
