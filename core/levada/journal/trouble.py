"""What can go wrong with the journal's file, told so that somebody can act on it."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from levada.errors import StateError

_DAMAGE: Final = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT}
_DISK: Final = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}
_PLACE: Final = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_DISK_ERRNO: Final = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_DISK_REMEDY: Final = "; its disk is full, or fails: nothing was lost, run the same again later"


class DamagedError(StateError):
    """A journal that SQLite finds fault with, or whose tables are not a journal's."""

    def __init__(self, path: Path, what: str) -> None:
        self.what: str = " ".join(what.split())
        super().__init__(
            f"{path} is damaged ({self.what}); nothing was changed."
            " Restore a copy of the state folder, or see what `levada repair` can do"
        )


@contextmanager
def told(path: Path, done: str) -> Iterator[None]:
    """Tell what keeps the journal at *path* from being *done*: opened, made, read, written.

    Raises:
        DamagedError: its content is the cause: not its name, its disk or who has it.
        StateError: anything else.
    """
    try:
        yield
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        raise trouble(error, path, done) from error


def trouble(error: Exception, path: Path, done: str) -> StateError:
    """Return what *error* means to the operator; see `told`."""
    if isinstance(error, UnicodeDecodeError):  # of a message that quotes what is in the file
        return DamagedError(path, "what defines its tables cannot be read")
    if isinstance(error, OSError):
        local = error.errno in _DISK_ERRNO
        remedy = _DISK_REMEDY if local else ""
        return StateError(f"{path} cannot be {done}: {error.strerror}{remedy}", local=local)
    code = _code(error)
    if code in _DAMAGE and not isinstance(error, sqlite3.ProgrammingError):
        return DamagedError(path, str(error))
    remedy = _remedy(code, path)
    return StateError(f"{path} cannot be {done}: {error}{remedy}", local=code in _DISK)


def is_of_place(error: Exception) -> bool:
    """Whether it is not the journal that SQLite fails at, but a disk or folder it cannot write to."""
    return _code(error) in _DISK | _PLACE


def _code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _remedy(code: int, path: Path) -> str:
    if code in _PLACE:
        return f"; SQLite has to write to {path.parent}, also to read a journal that is in use"
    if code in _DISK:
        return _DISK_REMEDY
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return "; another program has locked it; close it, and run the same again"
    return "; move it away, or restore a copy" if code == sqlite3.SQLITE_NOTADB else ""
