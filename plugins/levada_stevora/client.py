"""Requests to Stevora, and the pages it answers.

What is said here about Stevora is from its documentation site (API reference: workflow runs,
events, authentication). Lists are paged by number; `meta.total` counts all their rows.
"""

from collections import Counter
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec
from attrs import define, field

from levada import (
    ApiKey,
    Context,
    Gone,
    HttpClient,
    HttpResponse,
    Rejected,
    Retry,
    Secret,
    TooLarge,
)
from levada.page import Id, Moment, decode_items, decode_page, error_text, refusal
from levada_stevora.pages import PageSize, Rows

A = TypeVar("A", bound="Answer")

NOTHING: Final = msgspec.Raw(b"null")

NOT_THIS_ONE: Final = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.GONE,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.UNPROCESSABLE_ENTITY,
}

BELIEVED: Final = 3
"""So often a page that shows nothing is asked for again, where the total counts more."""

SMALLER: Final = 8
"""So many times fewer events are asked for where a page was too large."""

NO_ROUTE: Final = {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}


class RunRow(msgspec.Struct, rename="camel"):
    """A workflow run as lists show it; `version` counts the changes of the run itself."""

    id: Id
    workspace_id: Id | None = None
    definition_id: Id | None = None
    status: str | None = None
    version: Id | None = None
    created_at: Moment = None
    updated_at: Moment = None
    completed_at: Moment = None
    cancelled_at: Moment = None
    failed_at: Moment = None


class EventRow(
    msgspec.Struct, rename={"type": "eventType", "time": "createdAt", "subject": "stepRunId"}
):
    """An event as the list shows it; events of the run as a whole have no step run."""

    id: Id
    type: str = "unknown"
    time: Moment = None
    subject: str | None = None


class Meta(msgspec.Struct, rename="camel"):
    """What a list says of itself. The size should be the one that was used."""

    total: int | None = None
    page_size: int | None = None


class Answer(msgspec.Struct):
    """Any answer. Stevora says `success: false` with status 200 as well."""

    success: bool = True


class Page(Answer):
    """A page of a list."""

    data: list[msgspec.Raw] | None = None
    meta: msgspec.Raw = NOTHING


class Single(Answer):
    """One thing by itself."""

    data: msgspec.Raw = NOTHING


@define
class StevoraClient:
    """What a workspace's API shows: its runs, one of them, and the events of one.

    Lists raise `Gone` where there is no such list, all raise `Fatal` where Stevora refuses the key
    or the request, and `Retry` where it answers something else than it should.
    """

    base_url: str
    _http: HttpClient
    _api_key: Secret
    _asked: int
    _sizes: dict[tuple[str, int], PageSize] = field(init=False, factory=dict)
    """By the kind of list and the number of rows that are asked for."""

    _empty: Counter[tuple[str | None, int]] = field(init=False, factory=Counter)
    """How often pages of runs have shown nothing where something should be, since they last showed
    something; by the definition and the number."""

    _large: dict[str, int] = field(init=False, factory=dict)
    """How many events are asked for of runs where a page of as many as usual was too large."""

    @classmethod
    def connect(
        cls, base_url: str, api_key: Secret, ctx: Context, *, page_size: int
    ) -> "StevoraClient":
        """Take *base_url* with or without ``/v1``, and with what a self-hosted one has before."""
        base_url = normal_url(base_url)
        http = ctx.http(base_url, auth=ApiKey("X-API-Key", api_key))
        return cls(base_url, http, api_key, page_size)

    def runs_on_a_page(self) -> int:
        """Return how many runs to expect on a page."""
        return self._size("runs", self._asked).rows

    def asked_of(self, run_id: str) -> int:
        """Return how many of a run's events to ask for in one request."""
        return self._large.get(run_id, self._asked)

    def note_full(self, page: Rows, asked: int) -> None:
        """Note that a page of events, of so many that were asked for, is followed by another."""
        self._size("events", asked).is_full(len(page.rows))

    def events_on_a_page(self, asked: int) -> int:
        """Return how many events to expect on a page when so many are asked for."""
        return self._size("events", asked).rows

    @property
    def http(self) -> HttpClient:
        """The HTTP client underneath."""
        return self._http

    async def runs(
        self, page: int, *, status: str | None = None, definition: str | None = None
    ) -> Rows:
        """Fetch a page of the runs, in an order that Stevora does not tell."""
        narrowed = {"status": status, "definitionId": definition}
        found = await self._page("/v1/workflow-runs", page, "runs", self._asked, **narrowed)
        if found.rows and status is None:
            del self._empty[definition, page]
        return found

    def is_believed(self, page: Rows, *, definition: str | None = None) -> bool:
        """Note that a page of runs has shown nothing, though more are counted; believe it in the end.

        A vendor may count what it does not show. One that fails for a moment shows it again.
        """
        self._empty[definition, page.number] += 1
        return self._empty[definition, page.number] > BELIEVED

    async def run(self, run_id: str) -> RunRow | None:
        """Fetch a run by itself; None where there is no such run, or no such route."""
        response = await self._http.get(run_path(run_id))
        if response.status in NO_ROUTE | NOT_THIS_ONE:
            return None
        data = self._decode(response, Single, of_one=True).data
        if bytes(data) == b"null":
            raise self._without_success(response)
        (row,) = decode_items([data], RunRow)
        return None if isinstance(row, Rejected) else row

    async def events(self, run_id: str, page: int, *, size: int) -> Rows:
        """Fetch a page of a run's events, which are listed oldest first.

        Raises:
            Retry: the answer is too large; now `asked_of` says fewer.
        """
        try:
            return await self._page(f"{run_path(run_id)}/events", page, "events", size)
        except TooLarge as large:
            if size == 1:
                raise
            self._large[run_id] = max(1, min(size, self.asked_of(run_id)) // SMALLER)
            raise Retry(f"{large}; asking for fewer events") from large

    async def _page(self, path: str, number: int, kind: str, asked: int, **query: Any) -> Rows:
        response = await self._http.get(path, {"page": number, "pageSize": asked, **query})
        of_one = kind == "events"
        is_gone = of_one and response.status == HTTPStatus.GONE
        if is_gone or response.status == HTTPStatus.NOT_FOUND:
            raise Gone(f"{response.status} from {response.place}: {self._said(response)}")
        answer = self._decode(response, Page, of_one=of_one)
        if answer.data is None:
            raise self._without_success(response)
        meta = _meta(answer.meta)
        size = self._size(kind, asked).see(number, len(answer.data), meta.page_size, meta.total)
        if number == 1 and not answer.data and (meta.total or 0) > size:
            raise Retry(f"{response.place} shows nothing, but says that there are {meta.total}")
        return Rows(answer.data, meta.total, number, size)

    def _size(self, kind: str, asked: int) -> PageSize:
        if (kind, asked) not in self._sizes:
            usual = self._sizes.get((kind, self._asked), PageSize(self._asked, self._asked)).rows
            most = asked if usual >= self._asked else min(asked, usual)
            self._sizes[kind, asked] = PageSize(asked, most)
        return self._sizes[kind, asked]

    def _decode(self, response: HttpResponse, answer: type[A], *, of_one: bool) -> A:
        if response.status != HTTPStatus.OK:
            raise refusal(response, secret=self._api_key, of_one=of_one)
        decoded = decode_page(response, answer, secret=self._api_key)
        if not decoded.success:
            raise self._without_success(response)
        return decoded

    def _without_success(self, response: HttpResponse) -> Retry:
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        said = self._said(response) or f"{kind}, {len(response.body)} bytes"
        return Retry(f"{response.place} answered 200 without success: {said}")

    def _said(self, response: HttpResponse) -> str:
        return error_text(response.body, secret=self._api_key)


def _meta(raw: msgspec.Raw) -> Meta:
    """Read what can be used of a page's meta."""
    with suppress(msgspec.DecodeError):
        meta = msgspec.json.decode(raw, type=Meta | None, strict=False)
        if meta and (meta.page_size or 1) > 0 and (meta.total or 0) >= 0:
            return meta
    return Meta()


def normal_url(base_url: str) -> str:
    """Return *base_url* so that ``/v1/…`` can be appended to it."""
    return base_url.rstrip("/").removesuffix("/v1").rstrip("/")


def run_path(run_id: str) -> str:
    """Return the path of a run."""
    return f"/v1/workflow-runs/{quote(run_id, safe='')}"
