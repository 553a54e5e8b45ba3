"""Sees from its pages in which order a list of runs is."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal, TypeAlias

Order: TypeAlias = Literal["newest", "oldest", "none"]
"""Which runs come first, or that it is not their creation that orders them."""


class Sorting:
    """Compares the creation of neighbours, page after page; `order` is None until two differ."""

    def __init__(self, order: Order | None) -> None:
        self.order = order
        self._ends: dict[int, Sequence[datetime]] = {}  # page number -> the time of its last row

    def see(self, number: int, times: Sequence[datetime]) -> None:
        """Take a page into account. What contradicts what was seen before leaves no order."""
        row = [*self._ends.get(number - 1, ()), *times]
        self._ends = {number: times[-1:]}
        rises = any(a < b for a, b in pairwise(row))
        falls = any(a > b for a, b in pairwise(row))
        if rises or falls:
            shown: Order = "none" if rises and falls else "oldest" if rises else "newest"
            self.order = shown if self.order in {None, shown} else "none"
