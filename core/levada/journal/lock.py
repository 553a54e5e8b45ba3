"""One process at a time: advisory locks that the kernel lets go of when their holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from levada.errors import StateError

NAME: Final = "state.lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the state folder *folder*; ``state.lock`` in it says who does.

    The folder itself is locked too: somebody may remove the file.

    Raises:
        StateError: another process holds it, or the file cannot be made.
    """
    with ExitStack() as stack:
        note = _opened(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, stack)
        for handle in (note, _opened(folder, os.O_RDONLY | os.O_DIRECTORY, stack)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.read(note, 20).decode("ascii", "replace").strip()
                raise StateError(
                    f"{folder} is in use by process {holder or 'unknown'};"
                    " stop that one, or give this pipeline a `state` of its own"
                ) from None
        with suppress(OSError):  # a full disk: it is locked all the same
            os.ftruncate(note, 0)
            os.write(note, str(os.getpid()).encode())
        yield


def is_held(folder: Path) -> bool:
    """Whether a process holds the state folder; while this is asked nobody else can come to."""
    with ExitStack() as stack:
        try:
            fcntl.flock(
                _opened(folder, os.O_RDONLY | os.O_DIRECTORY, stack), fcntl.LOCK_SH | fcntl.LOCK_NB
            )
        except BlockingIOError:
            return True
    return False


def _opened(path: Path, flags: int, stack: ExitStack) -> int:
    try:
        handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"{path} cannot be opened: {error.strerror}; check its folder") from error
    stack.callback(os.close, handle)
    return handle
