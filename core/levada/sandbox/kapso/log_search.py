"""Kapso's log search: one feed of the events of all executions, newest first.

Kapso does not say how the feed is sorted or what its window is measured by: here it is by the
time of an event, and by when it was taken in. Of its sources only workflow events are here; the
others are empty.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec
from attrs import field, frozen

from levada.sandbox.http import RecordedRequest, Response, json_response
from levada.sandbox.kapso.cursors import encode_cursor
from levada.sandbox.kapso.data import KapsoEvent, KapsoExecution
from levada.sandbox.kapso.paging import Page, PageRequest, page_of
from levada.sandbox.kapso.query import Query, QueryError, check_choice, cursor, integer, moment
from levada.sandbox.kapso.quirks import KapsoQuirks
from levada.sandbox.kapso.world import KapsoWorld
from levada.sandbox.quirks import Shown, integer_id

__all__ = ["LogSearch"]

_WORKFLOW_SOURCES: Final = frozenset({"all", "flow_event"})
_OTHER_SOURCES: Final = frozenset(
    {"external_api_log", "whatsapp_webhook_event", "webhook_delivery"}
)
_PERIODS: Final = {"24h": timedelta(hours=24), "7d": timedelta(days=7)}
_AROUND: Final = timedelta(hours=1)
_DEFAULT_LIMIT: Final = 50
_MAX_LIMIT: Final = 100
_PROBLEMS: Final = frozenset({"execution_failed", "step_failed", "action_failed"})
_FAILURE: Final = {
    "available": True,
    "events": [],
    "error": "log search failed",
    "code": "elastic_search_failed",
}


@frozen
class _Entry:
    """An event in the feed."""

    event: KapsoEvent
    execution: KapsoExecution = field(repr=False)

    @property
    def key(self) -> tuple[datetime, str]:
        """What the feed is sorted by."""
        return self.event.key


@frozen
class LogSearch:
    """The feed of a project as it is at `now`."""

    world: KapsoWorld
    now: datetime
    quirks: KapsoQuirks

    def answer(self, request: RecordedRequest) -> Response:
        """Answer a GET, or a POST whose body has the parameters and perhaps `filters`.

        Raises:
            QueryError: A parameter cannot be read.
        """
        if self.quirks.log_search == "failing":
            return json_response(HTTPStatus.UNPROCESSABLE_ENTITY, {"data": _FAILURE})
        query, filters = _parameters(request)
        since, until = self._window(query)
        page = self._page(query, self._filter(query, filters, since, until))
        is_available = self.quirks.log_search == "available"
        following = encode_cursor(page.rows[-1].key) if page.has_older and is_available else None
        content = {
            "available": is_available,
            "events": [self._row(entry) for entry in page.rows] if is_available else [],
            "pagination": {"has_more": following is not None, "next_cursor": following},
            "window": {"since": self.quirks.time(since), "until": self.quirks.time(until)},
        }
        return json_response(HTTPStatus.OK, {"data": content})

    def _window(self, query: Query) -> tuple[datetime, datetime]:
        check_choice(query, "period", [*_PERIODS, "context"])
        period = query.get("period", "24h")
        if period in _PERIODS:
            return self.now - _PERIODS[period], self.now
        around = moment(query, "around")
        if around is None:
            raise QueryError("around is missing; the period context needs it")
        return around - _AROUND, around + _AROUND

    def _filter(
        self, query: Query, filters: Mapping[str, Any], since: datetime, until: datetime
    ) -> Callable[[_Entry], bool]:
        check_choice(query, "source", _WORKFLOW_SOURCES | _OTHER_SOURCES)
        has_source = query.get("source", "all") in _WORKFLOW_SOURCES
        only_problems = query.get("problems_only", "").lower() == "true"
        text = query.get("query", "").strip().casefold()
        latest = min(until, self.now - self.quirks.log_search_lag)

        def is_wanted(entry: _Entry) -> bool:
            if not has_source or not since <= entry.event.visible_at <= latest:
                return False
            if only_problems and entry.event.event_type not in _PROBLEMS:
                return False
            row = self._row(entry) if filters or text else {}
            has_text = not text or any(text in str(value).casefold() for value in row.values())
            return has_text and all(row.get(name) == value for name, value in filters.items())

        return is_wanted

    def _page(self, query: Query, is_wanted: Callable[[_Entry], bool]) -> Page[_Entry]:
        limit = integer(query, "limit", default=_DEFAULT_LIMIT, most=_MAX_LIMIT)
        found = sorted(filter(is_wanted, self._entries()), key=lambda entry: entry.key)
        return page_of(found, PageRequest(limit, after=cursor(query, "cursor")))

    def _entries(self) -> Iterator[_Entry]:
        for execution in self.world.executions.values():
            for event in execution.events:
                yield _Entry(event, execution)

    def _row(self, entry: _Entry) -> Shown:
        q, event, workflow = self.quirks, entry.event, entry.execution.workflow
        data = event.data
        step = data.get("step") or {}
        is_problem = event.event_type in _PROBLEMS
        event_type = q.event_type(event.id, event.event_type)
        return q.row(
            {
                "id": f"log_{integer_id(event.id):015d}",
                "source": "flow_event",
                "timestamp": q.time(event.created_at),
                "occurred_at": q.time(event.created_at),
                "ingested_at": q.time(event.visible_at),
                "message": event_type.replace("_", " "),
                "event_type": event_type,
                "flow_id": q.id(workflow.id),
                "flow_name": workflow.name,
                "flow_execution_id": q.id(entry.execution.id),
                "flow_event_id": q.id(event.id),
                "step_identifier": step.get("identifier"),
                "step_type": step.get("stepable_type"),
                "status": entry.execution.status,
                "level": "error" if is_problem else "info",
                "error_message": data["payload"].get("error_message") if is_problem else None,
                "error_class": None,
                "attributes": {},
                "payload": None if q.null_payloads else data["payload"],
            }
        )


def _parameters(request: RecordedRequest) -> tuple[Query, Mapping[str, Any]]:
    """Read the parameters, from a POST's body too, and the filters in it."""
    if request.reads or not request.body:
        return request.query, {}
    try:
        body = msgspec.json.decode(request.body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise QueryError("the body must be a JSON object") from error
    filters = body.pop("filters", None) or {}
    if not isinstance(filters, dict):
        raise QueryError("filters must be an object")
    return request.query | {name: str(value) for name, value in body.items()}, filters
