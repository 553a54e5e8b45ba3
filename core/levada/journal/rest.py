"""The journal at rest: what is noted of it while no process has it open.

SQLite finds fault with a structure that is broken, but not with a value that has become another
one, nor with a log that is not there. So who closes a journal says so in it, and leaves the
checksums of its blocks beside it, in ``state.db.sums``; who opens it next compares. While it is open
there are none: a crash leaves SQLite's log and no checksums.
"""

import os
import sqlite3
import time
import zlib
from array import array
from contextlib import suppress
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Final

from attrs import field, frozen

from levada.journal.files import has_log, synced, turn

BLOCK: Final = 4096
MOST_BYTES: Final = 256 * 1024 * 1024
"""Of a journal whose blocks are noted: a quarter of a second, when it is closed and when it is opened."""

READERS_S: Final = 1.0
"""How long somebody who reads is waited for, who keeps a part of the log out of the file."""

_MAGIC: Final = b"levada sums 1\n"

_CLOSED, _OPENED, _IN_USE = "1", "0", "-"
_SET_CLOSED: Final = "INSERT OR REPLACE INTO meta VALUES ('closed', ?)"
_CLOSED_QUERY: Final = "SELECT value FROM meta WHERE name = 'closed'"


@frozen
class Change:
    """How a journal differs from what it was when it was closed."""

    bits: dict[int, int] = field(factory=dict)
    """Which bit of a block has changed, where it is a single one: damage, surely."""

    more: int = 0
    """Blocks of which more has changed, or that are gone: also another program may have done it."""

    def __bool__(self) -> bool:
        return bool(self.bits or self.more)


class InUse:
    """Has the journal's own file say, while it is open, that its log says more.

    So a file that says no more than this has lost its log. One that does had it put into it by
    whoever closed it, also another program, or has lost what was committed since it last grew.
    SQLite puts the log into the file as it grows, and what it says of itself with it; so it has to be
    said again after that.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._not_before = 0.0
        self._say()

    def say_again(self) -> None:
        """Say it again if that is needed; after every commit, and it takes next to nothing."""
        if self._grown() != self._said and time.monotonic() >= self._not_before:
            with suppress(sqlite3.Error):  # it is less well known then what was lost
                self._say()

    def _say(self) -> None:
        self._connection.execute(_SET_CLOSED, (_OPENED,))
        checkpoint = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        ((_, pages, done),) = checkpoint.fetchall()
        try:
            self._connection.execute(_SET_CLOSED, (_IN_USE,))
        except sqlite3.Error:  # as it is now it would pass for one that has lost its log
            self._connection.execute(_SET_CLOSED, (_IN_USE,))
            raise
        self._said = self._grown()
        self._not_before = time.monotonic() + (0 if pages == done else READERS_S)

    def _grown(self) -> int:
        """Return when the file last changed: only then was the log put into it."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:  # whoever writes next says so
            return 0


def end(connection: sqlite3.Connection) -> bool:
    """Have the journal say that it is closed, as the last thing before it is; return whether it does.

    A full disk and somebody who is reading can prevent it; then less is known the next time.
    """
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA wal_checkpoint(RESTART)")  # makes room for one more commit
        connection.execute(_SET_CLOSED, (_CLOSED,))
        ((busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return not busy
    return False


def lacks_log(connection: sqlite3.Connection) -> bool:
    """Whether a journal without a log had one that is lost."""
    return (_OPENED,) in connection.execute(_CLOSED_QUERY)


def may_lack_log(connection: sqlite3.Connection) -> bool:
    """Whether a journal without a log was not closed by a process that said so."""
    return (_IN_USE,) in connection.execute(_CLOSED_QUERY)


def note(path: Path) -> None:
    """Leave the checksums of a journal that nobody has open, nor will write to before `forget`.

    Raises:
        OSError: they cannot be written.
    """
    if path.stat().st_size > MOST_BYTES or has_log(path):
        return
    content = _MAGIC + _sums(path).tobytes()
    draft = path.with_name(f"{path.name}.sums-new")
    draft.unlink(missing_ok=True)
    try:
        draft.touch(mode=0o600)
        draft.write_bytes(content + _crc(content))
        synced(draft)
        draft.rename(sums_of(path))
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    synced(path.parent)


def forget(path: Path) -> None:
    """Remove the checksums, before the first write to what they are of.

    Raises:
        OSError: the folder cannot be written to.
    """
    if sums_of(path).exists():
        sums_of(path).unlink()
        synced(path.parent)


def change(path: Path) -> Change:
    """Return what has changed since the journal was closed, as far as that was noted.

    May be asked while another process opens the journal: then nothing is known.
    """
    which, sums = _noted(path)
    if sums is None or has_log(path):
        return Change()
    bits, more = {}, 0
    for block, (before, now) in enumerate(zip_longest(sums, _sums(path))):
        if before == now:
            continue
        if before is not None and now is not None and before ^ now in _bits():
            bits[block] = _bits()[before ^ now]
        else:
            more += 1
    return Change(bits, more) if _noted(path)[0] == which else Change()


def turn_back(path: Path, change: Change) -> None:
    """Turn the single bits back that have changed."""
    turn(path, (block * BLOCK * 8 + bit for block, bit in change.bits.items()))


def sums_of(path: Path) -> Path:
    """Return where the checksums of the journal at *path* are."""
    return path.with_name(f"{path.name}.sums")


def _noted(path: Path) -> "tuple[object, array[int] | None]":
    """Return what tells the note from every other, and its checksums; None: none to trust."""
    try:
        with sums_of(path).open("rb") as file:
            found, content = os.fstat(file.fileno()), file.read()
    except OSError:
        return None, None
    which = found.st_ino, found.st_mtime_ns
    content, crc = content[:-4], content[-4:]
    if not content.startswith(_MAGIC) or crc != _crc(content):
        return which, None
    sums = array("I")
    sums.frombytes(content.removeprefix(_MAGIC))
    return which, sums


def _sums(path: Path) -> "array[int]":
    sums = array("I")
    with path.open("rb") as file:
        while chunk := file.read(BLOCK * 256):
            blocks = (chunk[start : start + BLOCK] for start in range(0, len(chunk), BLOCK))
            sums.extend(map(zlib.crc32, blocks))
    return sums


def _crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


@cache
def _bits() -> dict[int, int]:
    """Return which bit of a block has changed, by the difference that it makes to the checksum.

    No other bit makes the same one, and no two bits do.
    """
    block = bytearray(BLOCK)
    none = zlib.crc32(block)
    found = {}
    for bit in range(BLOCK * 8):
        block[bit // 8] = 1 << bit % 8
        found[zlib.crc32(block) ^ none] = bit
        block[bit // 8] = 0
    return found
