"""Looks for events that must be there, but were not on the pages that were read.

Two things hide an event. One became visible late, in a place behind those that were read: as a
rule a little before the end. Or rows of equal times have another order at every request, so that
one is on the second page when the first is asked for, and on the first when the second is. That
shows: a page begins with rows seen before. Pages of another size have their borders elsewhere.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from levada import Gone
from levada_stevora.client import StevoraClient
from levada_stevora.pages import Rows

Place: TypeAlias = tuple[int, int | None]
"""The number of a page, and its size; None: as always."""

LAPS: Final = 9
"""Over all pages, at most; the fourth is only begun if the third has found something."""

_SMALL: Final = 10


class Search:
    """One search in a run's events; it looks no further back than *floor* rows from the start.

    *size* is how many rows a page is asked for as always.
    """

    def __init__(self, client: StevoraClient, run_id: str, *, floor: int, size: int) -> None:
        self.is_settled = False
        """Whether the latest lap has shown no row twice: another one would show nothing else."""
        self._client = client
        self._run_id = run_id
        self._floor = floor
        self._size = size

    async def pages(
        self, last: Rows, seams: Sequence[int], count: Callable[[], int]
    ) -> AsyncIterator[Rows]:
        """Fetch the pages that may hold what is hidden, the likeliest first.

        *last* is the last page, read just now. *seams* are the offsets of pages with rows that
        were seen before; *count* tells how many rows are known, which grows meanwhile.
        """
        total = last.total or 0
        async for page in self._fetched(around(seams, self._client.events_on_a_page(self._size))):
            yield page
        shown = len(last.rows) if last.offset > self._floor else 0  # the first lap leaves it out
        for number in range(LAPS):
            lowest, before, size = total, count(), self._client.events_on_a_page(self._size)
            async for page in self._fetched(self._lap(number, total, size)):
                shown, lowest = shown + len(page.rows), min(lowest, page.offset)
                yield page
            has_seen_all = size == self._client.events_on_a_page(
                self._size
            )  # else pages are smaller
            self.is_settled = has_seen_all and shown <= count() - lowest
            has_tried_all = number >= len(sizes(size))
            if self.is_settled or (has_tried_all and count() == before):
                return
            shown = 0

    def _lap(self, number: int, total: int, size: int) -> Iterator[Place]:
        """Yield all pages backwards, in one size after the other."""
        if number == 0:
            return backwards(self._floor // size + 1, -(-total // size))
        other = (size, *sizes(size))[number % 3]
        used = self._client.events_on_a_page(other)
        return ((page, other) for page in range(-(-total // used), self._floor // used, -1))

    async def _fetched(self, places: Iterable[Place]) -> AsyncIterator[Rows]:
        for number, size in places:
            try:
                yield await self._client.events(self._run_id, number, size=size or self._size)
            except Gone:  # of the page or, as the next read will tell, of the run
                continue


def sizes(size: int) -> tuple[int, int]:
    """Return two other sizes of a page, few of whose borders are near those of *size* or others."""
    return (size + 1, size + 2) if size < _SMALL else (size * 71 // 100, size * 87 // 100)


def around(seams: Sequence[int], size: int) -> Iterator[Place]:
    """Yield pages that have inside what was a border between two; the later ones first."""
    for seam in reversed(seams):
        other = max(sizes(size), key=lambda other: min(seam % other, other - seam % other))
        yield seam // other + 1, other


def backwards(first: int, last: int) -> Iterator[Place]:
    """Yield the pages before the last, which was read just now; a single one is read again."""
    return ((number, None) for number in range(max(last - 1, first), first - 1, -1))
