"""What the operating system's refusals mean to the host."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from levada import Failure, Fatal, Retry

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MOMENTARY = frozenset({errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn an OSError in the body into what the host should do about *path*.

    Raises:
        Retry: the disk is full, or the machine is short of something.
        Fatal: anything else: it will not go away by itself.
    """
    try:
        yield
    except OSError as error:
        raise failure(error, Path(error.filename or path)) from error


def failure(error: OSError, path: Path) -> Failure:
    """Return what *error*, met at *path*, asks of the host."""
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return Retry(f"no room to write {path} ({reason}); free some space", everywhere=True)
    if error.errno in _MOMENTARY:
        return Retry(f"{path}: {reason}", everywhere=True)
    if error.errno == errno.EIO:
        return Fatal(f"the disk of {path} failed ({reason}); check it before going on", local=True)
    return Fatal(f"{path} cannot be written by uid {os.geteuid()}: {reason}", local=True)
