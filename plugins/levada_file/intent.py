"""Which segments are not committed yet, and whose they are.

The journal learns of a segment only with the receipt of the first write into it. Should the
process die before, the segment holds bytes that no receipt vouches for, and nothing in it tells
them from somebody else's. So a hidden file says beforehand, durably: "segments from this number
on are being made by this sink of this journal, after that mark". It goes once the host shows, by
its next call, that the receipt is committed; where none comes, it is no longer true. A leftover
named by an intent that is true is removed; any other file in our way is left alone and stops the
sink.
"""

import json
import os
from pathlib import Path

from attrs import define, field, frozen

from levada import Json
from levada_file.layout import Layout, sync_folder
from levada_file.segment import Mark


@frozen
class Owner:
    """Whose bytes these are."""

    journal: str
    sink: str


@define
class Intent:
    """The hidden file of one sink."""

    _layout: Layout
    _owner: Owner
    _first: int | None = field(default=None, init=False)

    def load(self, mark: Mark | None) -> None:
        """Read what an earlier process left that wrote after *mark*.

        Somebody else's, a torn one, and one after another mark count as none.
        """
        self._first = None
        try:
            found = json.loads(self._path.read_bytes())
            first = int(found.pop("first")) if isinstance(found, dict) else -1
            if found == self._what(mark):
                self._first = first
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return

    def covers(self, number: int) -> bool:
        """Whether segment *number* is ours and not committed."""
        return self._first is not None and number >= self._first

    def declare(self, number: int, mark: Mark | None) -> None:
        """Say that segments from *number* on are ours, before the first is created after *mark*."""
        if self.covers(number):
            return
        text = {**self._what(mark), "first": number}
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        try:
            os.write(handle, json.dumps(text).encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(self._layout.folder)
        self._first = number

    def withdraw(self) -> None:
        """Remove it: whatever it named is committed, or gone."""
        if self._first is not None:
            self._path.unlink(missing_ok=True)
            self._first = None

    def _what(self, mark: Mark | None) -> dict[str, Json]:
        """Return what tells our intent after *mark* from all others."""
        after = mark.receipt() if mark else None
        return {"journal": self._owner.journal, "sink": self._owner.sink, "after": after}

    @property
    def _path(self) -> Path:
        return self._layout.intent
