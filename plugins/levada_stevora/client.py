"""Requests to Stevora, and the pages it answers.

What is said here about Stevora is from its documentation site (API reference: workflow runs,
events, authentication). Lists are paged by number; `meta.total` counts all their rows.
"""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from attrs import frozen

from levada import ApiKey, Context, Gone, HttpClient, Retry, Secret
from levada.page import Id, Moment, decode_page, error_text, refusal


class RunRow(msgspec.Struct, rename="camel"):
    """A workflow run as the list shows it; `version` counts the changes of the run itself."""

    id: Id
    workspace_id: Id | None = None
    status: str | None = None
    version: Id | None = None
    created_at: Moment = None
    updated_at: Moment = None


class EventRow(
    msgspec.Struct, rename={"type": "eventType", "time": "createdAt", "subject": "stepRunId"}
):
    """An event as the list shows it; events of the run as a whole have no step run."""

    id: Id
    type: str = "unknown"
    time: Moment = None
    subject: str | None = None


class Meta(msgspec.Struct, rename="camel"):
    """What a list says of itself. The size is the one that was used, not the one asked for."""

    total: int | None = None
    page_size: int | None = None


class Page(msgspec.Struct):
    """A page of either list. Stevora says `success: false` with status 200 as well."""

    success: bool = True
    data: list[msgspec.Raw] | None = None
    meta: Meta | None = None


@frozen
class Rows:
    """The rows of a page, and its place in the list."""

    rows: list[msgspec.Raw]
    total: int | None
    """How many rows the list has; None: Stevora did not say."""

    offset: int
    """How many rows the list has before these."""

    end: int
    """Where the next page begins."""

    @property
    def is_last(self) -> bool:
        """Whether nothing follows; a short page alone does not say so."""
        return not self.rows or (self.total is not None and self.end >= self.total)


@frozen
class StevoraClient:
    """The two lists of a workspace.

    Both raise `Gone` where there is no such list, `Fatal` where Stevora refuses the key or the
    request, and `Retry` where it answers something else than a page.
    """

    base_url: str
    _http: HttpClient
    _api_key: Secret
    page_size: int

    @classmethod
    def connect(
        cls, base_url: str, api_key: Secret, ctx: Context, *, page_size: int
    ) -> "StevoraClient":
        """Take *base_url* with or without ``/v1``, and with what a self-hosted one has before."""
        base_url = normal_url(base_url)
        http = ctx.http(base_url, auth=ApiKey("X-API-Key", api_key))
        return cls(base_url, http, api_key, page_size)

    @property
    def http(self) -> HttpClient:
        """The HTTP client underneath."""
        return self._http

    async def runs(self, page: int, *, definition: str | None) -> Rows:
        """Fetch a page of the runs, in an order that Stevora does not tell."""
        return await self._page("/v1/workflow-runs", page, definitionId=definition)

    async def events(self, run_id: str, page: int) -> Rows:
        """Fetch a page of a run's events, which are listed oldest first."""
        return await self._page(f"{run_path(run_id)}/events", page)

    async def _page(self, path: str, page: int, **query: Any) -> Rows:
        size = self.page_size
        response = await self._http.get(path, {"page": page, "pageSize": size, **query})
        if response.status == HTTPStatus.NOT_FOUND:
            said = error_text(response.body, secret=self._api_key)
            raise Gone(f"404 from {response.place}: {said}")
        if response.status != HTTPStatus.OK:
            raise refusal(response, secret=self._api_key)
        answer = decode_page(response, Page, secret=self._api_key)
        if not answer.success or answer.data is None:
            said = error_text(response.body, secret=self._api_key)
            raise Retry(f"{response.place} answered 200 without success: {said}")
        meta = answer.meta
        size = (meta and meta.page_size) or size
        return Rows(answer.data, meta.total if meta else None, (page - 1) * size, page * size)


def normal_url(base_url: str) -> str:
    """Return *base_url* so that ``/v1/…`` can be appended to it."""
    return base_url.rstrip("/").removesuffix("/v1").rstrip("/")


def run_path(run_id: str) -> str:
    """Return the path of a run."""
    return f"/v1/workflow-runs/{quote(run_id, safe='')}"
