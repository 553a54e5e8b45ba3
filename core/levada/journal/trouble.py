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
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _DAMAGE and not isinstance(error, sqlite3.ProgrammingError):
        return DamagedError(path, str(error))
    local = code in _DISK
    return StateError(f"{path} cannot be {done}: {error}{_remedy(code, path)}", local=local)


def _remedy(code: int, path: Path) -> str:
    match code:
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return f"; SQLite has to write to {path.parent}, also to read a journal that is in use"
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_FULL:
            return _DISK_REMEDY
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "; another program has locked it"
        case sqlite3.SQLITE_NOTADB:
            return "; move it away, or restore a copy"
        case _:
            return ""
