"""How Stevora answers a list: a page of it, and how many rows and pages there are."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from http import HTTPStatus
from itertools import groupby
from random import Random
from typing import Final, Protocol, TypeVar

from attrs import frozen

from levada.sandbox.http import RecordedRequest, Response, json_response
from levada.sandbox.stevora.errors import error_response
from levada.sandbox.stevora.query import page_request
from levada.sandbox.stevora.quirks import StevoraQuirks

__all__ = ["Listing"]

_DRIFTS_ONCE_IN: Final = 3


class Row(Protocol):
    """Anything that sorts by time."""

    @property
    @abstractmethod
    def created_at(self) -> datetime:
        """The time."""


R = TypeVar("R", bound=Row)


@frozen
class Listing:
    """One request for a list; `rng` decides what its quirks leave to chance."""

    request: RecordedRequest
    quirks: StevoraQuirks
    rng: Random

    def answer(self, rows: Sequence[R], show: Callable[[R], object]) -> Response:
        """Answer with the page that is asked for.

        Raises:
            QueryError: A parameter cannot be read.
        """
        page = page_request(self.request)
        total = self._total(len(rows))
        if self.quirks.strict_pages and page.number > max(page.count(total), 1):
            return error_response(HTTPStatus.NOT_FOUND, "NOT_FOUND", "Page not found")
        ordered = list(self._untied(rows)) if self.quirks.no_tie_break else rows
        content = {
            "success": True,
            "data": [show(row) for row in page.cut(ordered)],
            "meta": page.meta(total),
        }
        return json_response(HTTPStatus.OK, content)

    def _total(self, count: int) -> int:
        most = self.quirks.total_drift
        if not most or self.rng.randrange(_DRIFTS_ONCE_IN):
            return count
        return max(count + self.rng.choice((-1, 1)) * self.rng.randint(1, most), 0)

    def _untied(self, rows: Sequence[R]) -> Iterator[R]:
        for _, ties in groupby(rows, key=lambda row: row.created_at):
            shuffled = list(ties)
            self.rng.shuffle(shuffled)
            yield from shuffled
