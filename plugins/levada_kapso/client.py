"""Requests to Kapso, and the pages it answers.

What is said here about Kapso is from its OpenAPI description (workflows, platform), unless a
comment names another source. Every list is newest first and paged by opaque cursors.
"""

from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
from attrs import frozen

from levada import ApiKey, Context, Gone, HttpClient, HttpResponse, Retry, Secret
from levada.page import Id, Moment, decode_page, error_text, refusal

API_PATH = "/platform/v1"


class WorkflowRow(msgspec.Struct):
    """A workflow; the project it belongs to is the one the key was made for."""

    id: Id
    project_id: Id | None = None


class ExecutionRow(msgspec.Struct):
    """An execution as the list shows it. Kapso's own example of the list has no `status`."""

    id: Id
    status: str | None = None
    started_at: Moment = None
    last_event_at: Moment = None
    ended_at: Moment = None


class Step(msgspec.Struct):
    """The step of an event."""

    identifier: str | None = None


class EventRow(msgspec.Struct, rename={"type": "event_type", "time": "created_at"}):
    """An event as the list shows it."""

    id: Id
    type: str = "unknown"
    time: Moment = None
    step: Step | None = None

    @property
    def subject(self) -> str | None:
        """The step's identifier in its workflow."""
        return self.step.identifier if self.step else None


class Paging(msgspec.Struct):
    """Where the list goes on: an opaque cursor or, as in Kapso's Meta proxy, a URL."""

    next: str | int | None = None


class Meta(msgspec.Struct):
    """Paging by number, which Kapso had before cursors and which old parameters bring back."""

    page: int = 1
    per_page: int | None = None
    total_pages: int = 1


class Page(msgspec.Struct):
    """A page of any of the lists."""

    data: list[msgspec.Raw]
    paging: Paging | None = None
    meta: Meta | None = None

    def next_query(self) -> dict[str, Any] | None:
        """Return the parameters that ask for the page after this one, None for the last one.

        The list ends where `next` is null: not at a short or empty page, and `cursors.after` is
        set on the last page as well.
        """
        if self.paging is not None and self.paging.next is not None:
            return {"after": _cursor(str(self.paging.next))}
        if self.paging is None and self.meta is not None and self.meta.page < self.meta.total_pages:
            return {"page": self.meta.page + 1, "per_page": self.meta.per_page}
        return None


P = TypeVar("P", bound=Page)


@frozen
class KapsoClient:
    """The three lists of a project, page by page; a page is fetched when it is asked for.

    All raise `Gone` where there is no such list, `Fatal` where Kapso refuses the key or the
    request, and `Retry` where the walk cannot go on but may from its start.
    """

    base_url: str
    _http: HttpClient
    _api_key: Secret
    _ctx: Context

    @classmethod
    def connect(cls, base_url: str, api_key: Secret, ctx: Context) -> "KapsoClient":
        """Take *base_url* with or without ``/platform/v1``: Kapso's own tools take a bare host."""
        base_url = normal_url(base_url)
        http = ctx.http(base_url, auth=ApiKey("X-API-Key", api_key))
        return cls(base_url, http, api_key, ctx)

    @property
    def http(self) -> HttpClient:
        """The HTTP client underneath."""
        return self._http

    def workflows(self) -> AsyncGenerator[Page, None]:
        """List all workflows, archived ones too: their executions go on."""
        return self._walk("/workflows", {})

    def executions(self, workflow_id: str, *, limit: int) -> AsyncGenerator[Page, None]:
        """List a workflow's executions."""
        # Without a limit Kapso may answer pages by number.
        return self._walk(f"/workflows/{quote(workflow_id, safe='')}/executions", {"limit": limit})

    def events(self, execution_id: str, *, limit: int) -> AsyncGenerator[Page, None]:
        """List an execution's events."""
        return self._walk(f"{execution_path(execution_id)}/events", {"limit": limit})

    async def _walk(self, path: str, query: Mapping[str, Any]) -> AsyncGenerator[Page, None]:
        asked = set[tuple[Any, ...]]()
        further: dict[str, Any] | None = {}
        while further is not None:
            response = await self._http.get(path, {**query, **further})
            self._check(response, resumed=bool(further))
            page = decode_page(response, Page, secret=self._api_key)
            yield page
            further = page.next_query()
            mark = tuple((further or {}).values())
            if further is not None and mark in asked:
                self._ctx.report("paging.repeated", at=response.place)
                raise Retry(f"{response.place} sent the same cursor twice; its end was not reached")
            asked.add(mark)

    def _check(self, response: HttpResponse, *, resumed: bool) -> None:
        if response.status == HTTPStatus.OK:
            return
        said = error_text(response.body, secret=self._api_key)
        if response.status == HTTPStatus.NOT_FOUND:
            raise Gone(f"404 from {response.place}: {said}")
        if response.status == HTTPStatus.BAD_REQUEST and resumed:
            raise Retry(f"400 from {response.place} to its own cursor: {said}; starting again")
        raise refusal(response, secret=self._api_key)


def normal_url(base_url: str) -> str:
    """Return *base_url* without a slash at its end and with ``/platform/v1``."""
    return base_url.rstrip("/").removesuffix(API_PATH).rstrip("/") + API_PATH


def execution_path(execution_id: str) -> str:
    """Return the path of an execution."""
    return f"/workflow_executions/{quote(execution_id, safe='')}"


def _cursor(following: str) -> str:
    if "after=" not in following:
        return following
    after = parse_qs(urlsplit(following).query).get("after", [following])[0]
    return after.replace(" ", "+")  # Base64 that its sender forgot to encode
