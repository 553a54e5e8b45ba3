"""Which segment is not committed yet, and whose it is.

The journal learns of a segment only with the receipt of the first write into it. Should the
process die before, the segment holds bytes that no receipt vouches for, and nothing in it tells
them from somebody else's. So a hidden file says beforehand, durably: "this segment is being made
by this sink of this journal, after that mark", and, once it is made, which file it is. It goes when
the host shows, by its next call, that the receipt is committed; where none comes, it is no longer
true. A leftover named by an intent that is true is removed; any other file in our way is left alone
and stops the sink.
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
    _number: int | None = field(default=None, init=False)
    _inode: int | None = field(default=None, init=False)

    def load(self, mark: Mark | None) -> None:
        """Read what an earlier process left that wrote after *mark*.

        Somebody else's, a torn one, and one after another mark count as none.
        """
        self._number = None
        try:
            found = dict(json.loads(self._path.read_bytes()))
            number, inode = int(found.pop("segment")), found.pop("inode")
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return
        if found == self._what(mark):
            self._number, self._inode = number, inode

    def covers(self, path: Path) -> bool:
        """Whether the file at *path* is the one that we made and did not commit."""
        if self._number is None or self._layout.number(path.name) != self._number:
            return False
        there = path.lstat()
        return there.st_ino == self._inode or (self._inode is None and there.st_size == 0)

    def declare(self, number: int, mark: Mark | None) -> None:
        """Say that segment *number* is ours, before it is created after *mark*."""
        self._number, self._inode = number, None
        self._write(mark)
        sync_folder(self._layout.folder)

    def made(self, inode: int, mark: Mark | None) -> None:
        """Say which file it is, before anything is written to it: somebody may put another there."""
        self._inode = inode
        self._write(mark)

    def withdraw(self) -> None:
        """Remove it: what it named is committed, or gone."""
        if self._number is not None:
            self._path.unlink(missing_ok=True)
            self._number = None

    def _write(self, mark: Mark | None) -> None:
        text = {**self._what(mark), "segment": self._number, "inode": self._inode}
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        try:
            os.write(handle, json.dumps(text).encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    def _what(self, mark: Mark | None) -> dict[str, Json]:
        """Return what tells our intent after *mark* from all others."""
        after = mark.receipt() if mark else None
        return {"journal": self._owner.journal, "sink": self._owner.sink, "after": after}

    @property
    def _path(self) -> Path:
        return self._layout.intent
