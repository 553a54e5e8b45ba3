"""The query parameters of Kapso's lists: read strictly, turned into page requests and filters."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final

import msgspec

from levada.sandbox.kapso.cursors import Key, Moment, decode_cursor
from levada.sandbox.kapso.data import KapsoEvent, KapsoExecution, KapsoWorkflow
from levada.sandbox.kapso.paging import PageRequest

__all__ = [
    "Query",
    "QueryError",
    "check_choice",
    "cursor",
    "event_filter",
    "execution_filter",
    "integer",
    "moment",
    "page_request",
    "workflow_filter",
]

Query = Mapping[str, str]

_DEFAULT_LIMIT: Final = 20
_MAX_LIMIT: Final = 100
_MOST_DIGITS: Final = 9
_EXECUTION_STATUSES: Final = ("running", "waiting", "ended", "failed", "handoff")
_WORKFLOW_STATUSES: Final = ("draft", "active", "archived")


class QueryError(ValueError):
    """A parameter that is answered with 400; its text is the answer's `error`."""


def page_request(query: Query) -> PageRequest:
    """Read `limit`, `after` and `before`."""
    if "after" in query and "before" in query:
        raise QueryError("after and before cannot be combined")
    return PageRequest(
        integer(query, "limit", default=_DEFAULT_LIMIT, most=_MAX_LIMIT),
        after=cursor(query, "after"),
        before=cursor(query, "before"),
    )


def event_filter(query: Query) -> Callable[[KapsoEvent], bool] | None:
    """Read `event_type`; None takes every event."""
    wanted = query.get("event_type")
    return None if wanted is None else lambda event: event.event_type == wanted


def execution_filter(query: Query) -> Callable[[KapsoExecution], bool]:
    """Read the filters of the executions list; both bounds of `started_at` are inclusive."""
    check_choice(query, "status", _EXECUTION_STATUSES)
    names = ("status", "waiting_reason", "whatsapp_conversation_id")
    wanted = [(name, query[name]) for name in names if name in query]
    is_inside = _period(query)
    return lambda execution: (
        is_inside(execution.started_at)
        and all(getattr(execution, name) == value for name, value in wanted)
    )


def workflow_filter(query: Query) -> Callable[[KapsoWorkflow], bool]:
    """Read the filters of the workflows list; `name_contains` ignores case."""
    check_choice(query, "status", _WORKFLOW_STATUSES)
    status, part = query.get("status"), query.get("name_contains", "").casefold()
    is_inside = _period(query)
    return lambda workflow: (
        is_inside(workflow.created_at)
        and part in workflow.name.casefold()
        and status in {None, workflow.status}
    )


def integer(query: Query, name: str, *, default: int, most: int) -> int:
    """Read a number of at least 1."""
    text = query.get(name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else 0
    if not 1 <= number <= most:
        raise QueryError(f"{name} must be between 1 and {most}")
    return number


def moment(query: Query, name: str) -> datetime | None:
    """Read an RFC 3339 time; None where there is none."""
    if name not in query:
        return None
    try:
        return msgspec.convert(query[name], type=Moment)
    except msgspec.ValidationError as error:
        raise QueryError(f"{name} must be an RFC 3339 date-time") from error


def cursor(query: Query, name: str) -> Key | None:
    """Read a cursor; one named `before` bounds what it asks for from below, others from above."""
    if name not in query:
        return None
    try:
        return decode_cursor(query[name], is_upper=name != "before")
    except ValueError as error:
        raise QueryError(f"{name} is not a valid cursor") from error


def check_choice(query: Query, name: str, choices: Collection[str]) -> None:
    """Refuse a value that is not one of `choices`."""
    if name in query and query[name] not in choices:
        raise QueryError(f"{name} must be one of {', '.join(choices)}")


def _period(query: Query) -> Callable[[datetime], bool]:
    since, until = moment(query, "created_after"), moment(query, "created_before")
    return lambda time: (since is None or since <= time) and (until is None or time <= until)
