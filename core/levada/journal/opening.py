"""How a journal is checked and opened."""

import errno
import logging
import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

from levada.errors import StateError
from levada.journal import checksums, header, upkeep, values, wal
from levada.journal.files import besides, has_log, has_room, log_of
from levada.journal.lock import is_held
from levada.journal.migrations import migrate
from levada.journal.tables import VERSION, columns, columns_expected
from levada.journal.trouble import DamagedError, is_of_place, told

log: logging.Logger = logging.getLogger("levada.journal")

MOST_VERSIONS = 1000

ALWAYS_CHECKED_BYTES = 64 * 1024 * 1024
CHECKED_BYTES = 256 * 1024 * 1024

_AS_IT_IS = "mode=ro&immutable=1"
"""How to open a journal that nobody has open, without a file beside it."""

# FULL, not NORMAL: what follows a commit (an unlink, an answer to an upstream, a pruned row) cannot
# be undone, so the commit has to survive a power loss. What puts the log into the file is `Upkeep`.
PRAGMAS = """
PRAGMA journal_mode = WAL;
PRAGMA wal_autocheckpoint = 0;
PRAGMA synchronous = FULL;
PRAGMA busy_timeout = 5000;
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA mmap_size = 0;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing journal to write to it, and bring it up to date.

    What `look` finds wrong with it is for those who mend it, or have looked before.

    Raises:
        DamagedError: SQLite cannot read it, or its tables are not a journal's.
        StateError: not a journal, empty, or written by a newer version of Levada.
    """
    check_is_file(path)
    with told(path, "opened"), ExitStack() as stack:
        connection = stack.enter_context(closing(_open(path)))
        version = _check(connection, path)
        connection.executescript(PRAGMAS)
        connection.execute("BEGIN IMMEDIATE")  # nobody else is writing
        connection.execute("COMMIT")
        if version < VERSION:
            checksums.forget(path)
            migrate(connection, path, version=version, target=VERSION)
        _check_tables(connection, path)
        stack.pop_all()
    return connection


def look(path: Path, sums: checksums.Sums | None = None) -> sqlite3.Connection:
    """Check a journal that is to be written to; return a connection that only reads.

    *sums* are those of the file, should they be known. What is refused is left as it is: only a
    connection that may write puts a log into the file.

    While it is open nothing else of this process may open the file: closing that would undo the
    locks of this one.

    Raises:
        DamagedError: SQLite cannot read it, bits have changed since it was written, what another
            program has made of it cannot be right, or its log is missing or has changed.
        StateError: not a journal, empty, or written by another version of Levada.
    """
    check_is_file(path)
    with told(path, "opened"), ExitStack() as stack:
        check_can_write(path)
        change = _change(path, sums)
        if not header.is_right(path):
            raise DamagedError(path, "its header has changed")
        if wal.damage(path):
            raise DamagedError(path, f"its log, {log_of(path).name}, has changed")
        connection = stack.enter_context(closing(_open(path, "mode=ro")))
        version = _check(connection, path)
        if _lacks_log(connection, path):
            raise DamagedError(path, f"its log, {log_of(path).name}, is missing")
        if upkeep.may_lack_log(connection) and not wal.is_there(path):
            log.warning(
                "%s was not closed by Levada and has no log: unless another program has put that"
                " into it, what was committed last is missing",
                path,
            )
        if change:
            _check_all(connection, path, change, values_too=version == VERSION)
            checksums.forget(path)
        stack.pop_all()
    return connection


def connect_to_read(path: Path, *, as_it_is: bool = False) -> sqlite3.Connection:
    """Open a journal to read it, also while another process writes to it.

    With *as_it_is*, whether it has changed since it was written, or lost its log, does not matter.

    Raises:
        DamagedError: SQLite cannot read it, its tables are not a journal's, bits have changed since
            it was written, or its log is missing or has changed.
        StateError: not a journal, empty, or written by another version of Levada.
    """
    check_is_file(path)
    with told(path, "opened"), ExitStack() as stack:
        change = None if as_it_is else _change(path)
        if not as_it_is and _has_changed_log(path):
            raise DamagedError(path, f"its log, {log_of(path).name}, has changed")
        connection = stack.enter_context(closing(_open_to_read(path)))
        if _check(connection, path) < VERSION:
            raise StateError(
                f"{path} was written by an older Levada; `levada run` brings it up to date"
            )
        if not as_it_is and _lacks_log(connection, path) and not is_held(path.parent):
            raise DamagedError(path, f"its log, {log_of(path).name}, is missing")
        if change:
            _check_put_in(connection, path, change)
        _check_tables(connection, path)
        stack.pop_all()
    return connection


def _change(path: Path, sums: checksums.Sums | None = None) -> checksums.Change:
    """Return what has changed since the journal was written; refuse what is nothing but damage."""
    change = checksums.change(path, sums)
    if change.is_damage:
        raise DamagedError(path, str(change))
    return change


def _has_changed_log(path: Path) -> bool:
    """Whether a log that a crash left has changed; one that a run is writing to is not looked at."""
    folder = path.parent
    return not is_held(folder) and wal.damage(path) is not None and not is_held(folder)


def _lacks_log(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether a journal has lost its log; or a run is about to begin one, and another program emptied the last."""
    return upkeep.lacks_log(connection) and not wal.is_there(path)


def _check_put_in(connection: sqlite3.Connection, path: Path, change: checksums.Change) -> None:
    """Refuse a change that was not made by putting a crashed run's log into the file."""
    if not upkeep.may_lack_log(connection):
        raise DamagedError(path, str(change))


def check_is_file(path: Path) -> None:
    """Refuse what is no file, the journal or what is kept beside it: to read it might take for ever.

    Raises:
        StateError: it is a folder, a pipe or a device, or the journal is not there.
    """
    rollback = path.with_name(f"{path.name}-journal")  # SQLite looks for one
    for each in (path, *besides(path), rollback, checksums.path_of(path)):
        if each.exists() and not each.is_file():
            raise StateError(f"{each} is not a file; move it away, or restore a copy")
    if not path.exists():
        raise StateError(f"{path} is not there; move it away, or restore a copy")


def check_can_write(path: Path) -> None:
    """Refuse what cannot be written to, before SQLite puts files beside it that cannot be either.

    Raises:
        StateError: it cannot be, by this user, or its disk is full.
    """
    if not os.access(path, os.W_OK):
        raise StateError(f"{path} cannot be written to by user {os.geteuid()}; change its mode")
    if not has_room(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for beside in besides(path):  # made by somebody who could only read
        if beside.exists() and not os.access(beside, os.W_OK):
            beside.chmod(0o600)


def check_whole(connection: sqlite3.Connection, path: Path, *, unclean: bool) -> None:
    """Check the structure of a journal before anything is done with it.

    A large one is only checked if the last process did not end by itself: it takes about a second
    for a gigabyte. Rows of events carry a checksum besides.

    Raises:
        DamagedError: it is.
    """
    size = path.stat().st_size
    if size > (CHECKED_BYTES if unclean else ALWAYS_CHECKED_BYTES):
        return
    try:
        ((found,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise DamagedError(path, str(found))


def _check_all(
    connection: sqlite3.Connection, path: Path, change: checksums.Change, *, values_too: bool
) -> None:
    """Check all that can be checked of a journal that another program has changed, or damage."""
    _check_put_in(connection, path, change)
    ((found,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found != "ok":
        raise DamagedError(path, str(found))
    odd = values.broken(connection) if values_too else {}
    if odd or (values_too and any(values.broken_events(connection))):
        raise DamagedError(path, f"{', '.join(odd) or 'events'} changed since it was written")
    log.warning("%s was changed since Levada wrote it; what can be checked of it is right", path)


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open a journal that is not to be changed, also where nothing can be written beside it.

    That SQLite does even to read one that is in use. One that is not it can read as it is.
    """
    if not has_log(path) and not (has_room(path) and os.access(path, os.W_OK)):
        return _open(path, _AS_IT_IS)
    if not has_room(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    connection = _open(path, "mode=ro")
    try:
        connection.execute("SELECT * FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        connection.close()
        if not is_of_place(error) or has_log(path):
            raise
        return _open(path, _AS_IT_IS)
    return connection


def _open(path: Path, how: str = "mode=rw") -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a journal that we can read."""
    if path.stat().st_size == 0:
        raise StateError(
            f"{path} is empty; restore a copy, or remove it and all that is beside it,"
            f" {path.name}-wal and so on, to start afresh"
        )
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != header.APPLICATION_ID:
        raise StateError(f"{path} is not a journal of Levada; point `state` at another folder")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    is_one = 0 < version <= MOST_VERSIONS
    if not is_one or (version < VERSION and columns(connection) == columns_expected()):
        raise DamagedError(path, f"it says that it is of schema {version}, and is of another")
    if version > VERSION:
        raise StateError(
            f"{path} was written by a newer Levada (schema {version}, this one knows {VERSION}); upgrade"
        )
    return int(version)


def _check_tables(connection: sqlite3.Connection, path: Path) -> None:
    found = columns(connection)
    for table, expected in columns_expected().items():
        if found.get(table) != expected:
            raise DamagedError(path, f"its table '{table}' is not as it should be")
