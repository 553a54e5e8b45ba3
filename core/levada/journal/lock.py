"""One process at a time: an advisory lock that the kernel lets go of when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from levada.errors import StateError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at *path*.

    Raises:
        StateError: another process holds it, or it cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"{path} cannot be opened: {error.strerror}; check its folder") from error
    try:
        _take(handle, path)
        yield
    finally:
        os.close(handle)


def _take(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(handle, 20).decode("ascii", "replace").strip()
        raise StateError(
            f"{path.parent} is in use by process {holder or 'unknown'};"
            " stop that one, or give this pipeline a `state` of its own"
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
