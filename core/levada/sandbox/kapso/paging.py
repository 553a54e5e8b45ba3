"""Kapso's keyset paging: pages of a list that is shown newest first, with cursors between rows.

A cursor is the Base64 of `{"version":1,"values":[…]}` and holds the sort values of a row, so it
stays valid when rows are added or the row is gone. The one cursor that Kapso's reference shows
decodes to a time alone; ours holds the id as well, so that rows of equal time are never skipped.
"""

import base64
import binascii
from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Generic, Literal, Protocol, TypeVar

import msgspec
from attrs import frozen

__all__ = ["Key", "Page", "PageRequest", "decode_cursor", "encode_cursor", "page_of"]

Key = tuple[datetime, str]


class Row(Protocol):
    """Anything that sorts by time and id."""

    @property
    @abstractmethod
    def key(self) -> Key:
        """The sort values."""


R = TypeVar("R", bound=Row)


class _Wire(msgspec.Struct):
    version: Literal[1]
    values: tuple[Annotated[datetime, msgspec.Meta(tz=True)], str]


@frozen
class PageRequest:
    """What a client asked for; at most one of `after` (older rows) and `before` (newer rows)."""

    limit: int
    after: Key | None = None
    before: Key | None = None


@frozen
class Page(Generic[R]):
    """Rows newest first, and whether matching rows lie beyond either end."""

    rows: list[R]
    has_older: bool = False
    has_newer: bool = False

    def paging(self) -> dict[str, object]:
        """Return the `paging` object of the answer.

        A page with rows always has both cursors; only `next` and `previous` tell where the
        list goes on.
        """
        if not self.rows:
            return {"cursors": {"before": None, "after": None}, "next": None, "previous": None}
        first, last = encode_cursor(self.rows[0].key), encode_cursor(self.rows[-1].key)
        return {
            "cursors": {"before": first, "after": last},
            "next": last if self.has_older else None,
            "previous": first if self.has_newer else None,
        }


def encode_cursor(key: Key) -> str:
    """Print the sort values of a row as a cursor."""
    time = key[0].isoformat(timespec="microseconds").replace("+00:00", "Z")
    raw = msgspec.json.encode({"version": 1, "values": [time, key[1]]})
    return base64.b64encode(raw).decode("ascii")


def decode_cursor(cursor: str) -> Key:
    """Read a cursor back.

    Raises:
        ValueError: It is not one of ours.
    """
    try:
        return msgspec.json.decode(base64.b64decode(cursor, validate=True), type=_Wire).values
    except (binascii.Error, msgspec.DecodeError) as error:
        raise ValueError("not a cursor") from error


def page_of(
    rows: Sequence[R], request: PageRequest, matches: Callable[[R], bool] | None = None
) -> Page[R]:
    """Cut a page out of `rows`, which are sorted oldest first; the page is newest first.

    `before` answers the rows that border on its cursor. Kapso does not say whether it does too.
    """
    wanted = matches or (lambda _: True)
    to_newer = request.before is not None
    border = _border(rows, request)
    older, newer = range(border - 1, -1, -1), range(border, len(rows))
    ahead, behind = (newer, older) if to_newer else (older, newer)
    found = list(islice((rows[i] for i in ahead if wanted(rows[i])), request.limit + 1))
    page, goes_on = found[: request.limit], len(found) > request.limit
    came_from = any(wanted(rows[i]) for i in behind)
    if to_newer:
        return Page(page[::-1], has_older=came_from, has_newer=goes_on)
    return Page(page, has_older=goes_on, has_newer=came_from)


def _border(rows: Sequence[R], request: PageRequest) -> int:
    """Return the index of the first row that is newer than what the request asks for."""
    if request.before is not None:
        return bisect_right(rows, request.before, key=lambda row: row.key)
    if request.after is not None:
        return bisect_left(rows, request.after, key=lambda row: row.key)
    return len(rows)
