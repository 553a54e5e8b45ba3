"""The upkeep of SQLite's log: when it is put into the journal's file, and what the journal says then.

SQLite finds no fault with a log that is not there. So the journal says in its own file whether it
is closed, and with every log that is put into it the checksums are brought up to date.
"""

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from levada.journal import checksums, wal

_CLOSED, _OPENED, _IN_USE = "1", "2", "-"  # no two that differ in a single bit
_SAY: Final = "INSERT OR REPLACE INTO meta VALUES ('closed', ?)"
_SAID: Final = "SELECT value FROM meta WHERE name = 'closed'"


@frozen
class Found:
    """What a journal's file was like before this process opened it."""

    sums: checksums.Sums | None
    """None: it was too large to look at."""

    log: int | None
    """The number of the log it had; None: it had none."""


class Upkeep:
    """Puts SQLite's log into the journal's file as it grows, and leaves word of it each time.

    The connection must not do so by itself, as `opening.connect` sees to: at its next commit it would
    begin its log anew, and nobody could say any more what the file should be.

    A file that says no more than that it was opened has lost its log. One that says that it is in
    use had its log put into it by another program, or has lost what was committed since it last grew.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, *, log_pages: int, found: Found
    ) -> None:
        self._connection = connection
        self._path = path
        self._log_pages = log_pages
        self._sums = found.sums
        self._numbers = None if found.log is None else [found.log]
        self._put_in()

    def is_due(self) -> bool:
        """Whether the log has grown; to be asked after every commit, and takes next to nothing."""
        return wal.has_frame(self._path, self._next)

    def put_in(self) -> None:
        """Put the log into the file, outside of any transaction; where that fails, it stays due."""
        with suppress(sqlite3.Error):  # a full disk
            self._put_in()

    def end(self) -> bool:
        """Have the journal say that it is closed, as the last thing before it is.

        Return whether it is noted what it is then. A full disk and somebody who is reading can
        prevent that; less is known the next time.
        """
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA busy_timeout = 0")
            try:
                self._connection.execute(_SAY, (_CLOSED,))
            except sqlite3.Error:
                self._checkpoint()  # makes room in the log
                self._connection.execute(_SAY, (_CLOSED,))
            _, is_all = self._checkpoint()
            if is_all and self._sums is not None:
                return True
        with suppress(OSError):  # what is put in now is put in by others
            checksums.forget(self._path)
        return False

    def _put_in(self) -> None:
        self._connection.execute(_SAY, (_OPENED,))
        pages, is_all = self._checkpoint()
        try:
            self._connection.execute(_SAY, (_IN_USE,))
        except sqlite3.Error:  # as it is now it would pass for one that has lost its log
            self._connection.execute(_SAY, (_IN_USE,))
            raise
        if not is_all:  # somebody is reading what it was before
            self._next = pages + self._log_pages // 10
        elif wal.has_frame(self._path, pages):  # not begun anew: somebody is reading in it
            self._next = pages + self._log_pages
        else:
            self._next = self._log_pages

    def _checkpoint(self) -> tuple[int, bool]:
        """Put the log into the file; return how many pages it has, and whether all of them are there."""
        checkpoint = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        ((_, pages, done),) = checkpoint.fetchall()
        is_all = pages == done >= 0  # -1: another program is at it
        if is_all:
            self._note(pages)
        return max(pages, 0), is_all

    def _note(self, frames: int) -> None:
        """Note what the file is, now that it has all that is in the log.

        Where that cannot be, what was noted before must go: it would be wrong once the log has.
        """
        before, self._sums = self._sums, None
        try:
            log = wal.held(self._path, frames)
            if log and self._is_ours(log):
                self._sums = checksums.brought_up(before, self._path, log)
                self._numbers = [log.number, wal.next_number(log.number)]
                if self._sums is not None:
                    checksums.write(self._path, log.number, self._sums)
                    return
        except OSError:
            pass
        with suppress(OSError):  # a full disk has room for this
            checksums.forget(self._path)

    def _is_ours(self, log: wal.Held) -> bool:
        """Whether no other program has put a log into the file that we have not seen."""
        return log.is_first if self._numbers is None else log.number in self._numbers


def lacks_log(connection: sqlite3.Connection) -> bool:
    """Whether a journal without a log had one that is lost."""
    return (_OPENED,) in connection.execute(_SAID)


def may_lack_log(connection: sqlite3.Connection) -> bool:
    """Whether a journal without a log was not closed by a process that said so."""
    return (_IN_USE,) in connection.execute(_SAID)


def found(path: Path) -> Found:
    """Look at a journal before anything of this process opens it; see `checksums.take_in_hand`."""
    log = wal.held(path)
    return Found(checksums.of(path), log.number if log else None)
