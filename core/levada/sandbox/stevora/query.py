"""The query parameters of Stevora's lists: read strictly, turned into pages and filters."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, get_args

from attrs import frozen

from levada.sandbox.http import RecordedRequest
from levada.sandbox.stevora.data import StevoraRun
from levada.sandbox.stevora.quirks import StevoraQuirks
from levada.sandbox.stevora.script import StevoraStatus

__all__ = ["PageRequest", "QueryError", "page_request", "run_filter"]

T = TypeVar("T")

_DEFAULT_PAGE_SIZE: Final = 20
_MAX_PAGE_SIZE: Final = 100
_MAX_DIGITS: Final = 9


class QueryError(ValueError):
    """A parameter that is answered with 400; `details` maps its name to what is wrong."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__("Invalid query parameters")
        self.details: dict[str, str] = {name: problem}


@frozen
class PageRequest:
    """The page a client asked for, counted from 1."""

    number: int
    size: int

    def cut(self, rows: Sequence[T]) -> Sequence[T]:
        """Return the page's part of the whole list, empty beyond its end."""
        return rows[(self.number - 1) * self.size : self.number * self.size]

    def meta(self, total: int) -> dict[str, Any]:
        """Return the `meta` object of the answer."""
        return {
            "page": self.number,
            "pageSize": self.size,
            "total": total,
            "totalPages": self.count(total),
        }

    def count(self, total: int) -> int:
        """Return how many pages so many rows make."""
        return -(-total // self.size)


def page_request(request: RecordedRequest) -> PageRequest:
    """Read `page` and `pageSize`."""
    size = _integer(request, "pageSize", _DEFAULT_PAGE_SIZE)
    if size > _MAX_PAGE_SIZE:
        raise QueryError("pageSize", f"must be at most {_MAX_PAGE_SIZE}")
    return PageRequest(_integer(request, "page", 1), size)


def run_filter(request: RecordedRequest, quirks: StevoraQuirks) -> Callable[[StevoraRun], bool]:
    """Read `status` and `definitionId`."""
    status, definition_id = request.query.get("status"), request.query.get("definitionId")
    if status is not None and status not in get_args(StevoraStatus):
        raise QueryError("status", f"must be one of {', '.join(get_args(StevoraStatus))}")
    return lambda run: (
        status in {None, run.status} and definition_id in {None, str(quirks.id(run.definition.id))}
    )


def _integer(request: RecordedRequest, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    is_integer = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not is_integer or int(text) < 1:
        raise QueryError(name, "must be an integer of at least 1")
    return int(text)
