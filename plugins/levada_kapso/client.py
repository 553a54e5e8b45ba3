"""Requests to Kapso, and the pages it answers.

What is said here about Kapso is from its OpenAPI description (workflows, platform), unless a
comment names another source. Every list is newest first and paged by opaque cursors.
"""

from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from attrs import define, field

from levada import ApiKey, Context, Gone, HttpClient, HttpResponse, Retry, Secret, TooLarge
from levada.page import decode_page, error_text, refusal
from levada_kapso.rows import Detail, LogPage, Page
from levada_kapso.walk import Walk

API_PATH = "/platform/v1"


@define
class KapsoClient:
    """The routes of a project. Lists come page by page; a page is fetched when it is asked for.

    All raise `Gone` where there is no such thing, `Fatal` where Kapso refuses the key or the
    request, `TooLarge` where the answer exceeds `max_response_bytes`, that of a list even with a
    single row, and `Retry` where the walk cannot go on but may from its start.
    """

    base_url: str
    http: HttpClient
    _api_key: Secret
    _ctx: Context
    _widens: bool = field(default=True, init=False)  # until the server refuses such a cursor

    @classmethod
    def connect(cls, base_url: str, api_key: Secret, ctx: Context) -> "KapsoClient":
        """Take *base_url* with or without ``/platform/v1``: Kapso's own tools take a bare host."""
        base_url = normal_url(base_url)
        http = ctx.http(base_url, auth=ApiKey("X-API-Key", api_key))
        return cls(base_url, http, api_key, ctx)

    def workflows(self) -> AsyncGenerator[Page, None]:
        """List all workflows, archived ones too: their executions go on."""
        return self._walk("/workflows", {})

    def executions(self, workflow_id: str, **query: Any) -> AsyncGenerator[Page, None]:
        """List a workflow's executions; *query* are `limit`, `status`, `created_after`.

        `created_after` is about the start, and includes its moment.
        """
        # Without a limit Kapso may answer pages by number.
        return self._walk(f"/workflows/{quote(workflow_id, safe='')}/executions", query)

    def events(self, execution_id: str, *, limit: int) -> AsyncGenerator[Page, None]:
        """List an execution's events."""
        path = f"{execution_path(execution_id)}/events"
        return self._walk(path, {"limit": limit}, of_one=True)

    async def detail(self, execution_id: str) -> Detail:
        """Fetch an execution with its whole log of events, oldest first, in one answer."""
        response = await self.http.get(execution_path(execution_id))
        if response.status in {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}:
            raise Gone(f"{response.status} from {response.place}")
        self._check(response, of_one=True)
        return decode_page(response, Detail, items="events", secret=self._api_key)

    async def log_search(self, *, limit: int, cursor: str | None) -> LogPage:
        """Fetch a page of the workflow events that the search index holds of the last 24 hours.

        It may say of itself that it is not available, or answer 422 when the index fails.
        """
        query = {"source": "flow_event", "period": "24h", "limit": limit, "cursor": cursor}
        response = await self.http.get("/log_search", query)
        if response.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return LogPage.unavailable()
        self._check(response)
        return decode_page(response, LogPage, secret=self._api_key)

    async def _walk(
        self, path: str, query: Mapping[str, Any], *, of_one: bool = False
    ) -> AsyncGenerator[Page, None]:
        """Follow a list to its end, asking for nothing twice but what was too large."""
        walk = Walk(self._ctx, self._widens)
        while walk.query is not None:
            asked = walk.asking(query)
            try:
                response = await self.http.get(path, asked)
            except TooLarge:
                if not walk.take_less(asked):
                    raise
                continue
            if response.status == HTTPStatus.BAD_REQUEST and walk.fall_back():
                self._widens = False  # a cursor that it did not make itself is not taken
                continue
            self._check(response, resumed=walk.is_resumed, of_one=of_one)
            page = decode_page(response, Page, secret=self._api_key)
            yield page
            walk.go_on(page, response.place, asked)

    def _check(
        self, response: HttpResponse, *, resumed: bool = False, of_one: bool = False
    ) -> None:
        if response.status == HTTPStatus.OK:
            return
        said = error_text(response.body, secret=self._api_key)
        is_gone = of_one and response.status == HTTPStatus.GONE
        if is_gone or response.status == HTTPStatus.NOT_FOUND:
            if resumed and not of_one:
                raise Retry(f"{response.status} from {response.place} in the middle of it: {said}")
            raise Gone(f"{response.status} from {response.place}: {said}")
        if response.status == HTTPStatus.BAD_REQUEST and resumed:
            raise Retry(f"400 from {response.place} to its own cursor: {said}; starting again")
        raise refusal(response, secret=self._api_key, of_one=of_one)


def normal_url(base_url: str) -> str:
    """Return *base_url* without a slash at its end and with ``/platform/v1``."""
    return base_url.rstrip("/").removesuffix(API_PATH).rstrip("/") + API_PATH


def execution_path(execution_id: str) -> str:
    """Return the path of an execution."""
    return f"/workflow_executions/{quote(execution_id, safe='')}"
