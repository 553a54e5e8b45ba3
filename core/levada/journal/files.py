"""The journal's files: what the disk has to be told, and how one journal replaces another."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE: Final = "state.db"
"""Its name in the state folder."""

PAGE_BYTES: Final = 4096
"""Of a page of it, as SQLite calls it."""

SHARED_BYTES: Final = 64 * 1024
"""More than what SQLite needs beside a journal, for its processes to share."""


def synced(path: Path) -> None:
    """Make what was written to a file, or made, renamed and removed in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def log_of(path: Path) -> Path:
    """Return where SQLite keeps what it has committed and not yet put into the journal at *path*."""
    return path.with_name(f"{path.name}-wal")


def has_log(path: Path) -> bool:
    """Whether the last process left its log behind: it did not end by itself."""
    try:
        return log_of(path).stat().st_size > 0
    except FileNotFoundError:
        return False


def turn(path: Path, bits: Iterable[int]) -> None:
    """Turn bits of a file into the opposite, each counted from its start, durably."""
    with path.open("r+b") as file:
        for bit in bits:
            file.seek(bit // 8)
            (byte,) = file.read(1)
            file.seek(bit // 8)
            file.write(bytes([byte ^ 1 << bit % 8]))
    synced(path)


def has_room(path: Path) -> bool:
    """Whether the disk has room for what SQLite maps into memory: it is killed where that runs out."""
    shared = path.with_name(f"{path.name}-shm")
    with suppress(FileNotFoundError):
        if shared.stat().st_blocks * 512 >= SHARED_BYTES // 2:
            return True
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize >= SHARED_BYTES


def besides(path: Path) -> list[Path]:
    """Return where SQLite keeps what belongs to the journal at *path* while it is in use."""
    return [path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm")]


def removed(path: Path, suffixes: tuple[str, ...] = ("", "-wal", "-shm")) -> None:
    """Remove a journal and what SQLite keeps beside it, or only the latter."""
    for suffix in suffixes:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def copied(path: Path, copy: Path) -> None:
    """Copy a journal with its log, and make the copy durable; its name is not yet.

    Raises:
        OSError: it cannot be; nothing of it is left.
    """
    removed(copy)
    try:
        for suffix in ("", "-wal"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                target = copy.with_name(copy.name + suffix)
                target.touch(mode=0o600)
                target.write_bytes(part.read_bytes())
                synced(target)
    except OSError:
        removed(copy)
        raise


def put_in_place(draft: Path, path: Path) -> None:
    """Put the journal *draft*, which has no log, in the place of the one at *path*.

    From its first new name on it is the one that counts: whoever opens the journal next calls
    `settle`, should a crash keep us from it.
    """
    synced(draft)
    draft.rename(_waiting(path))
    synced(path.parent)
    settle(path)


def settle(path: Path) -> None:
    """Let a journal that waits for the place at *path* have it. Needs the lock."""
    waiting = _waiting(path)
    if not waiting.exists():
        return
    removed(path, ("-wal", "-shm"))  # SQLite would replay the old log into the new file
    synced(path.parent)
    waiting.rename(path)
    synced(path.parent)


def _waiting(path: Path) -> Path:
    return path.with_name(f"{path.name}.mended")
