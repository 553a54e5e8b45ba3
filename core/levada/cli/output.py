"""Standard output, kept for what the command itself prints.

A plugin may print whenever its code runs: imported, made, asked or closed, from a thread, or by a
program that it starts. So descriptor 1 leads to standard error, and the way out is another one.
"""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import F_DUPFD_CLOEXEC, fcntl

import click

STANDARD_ERROR = 2

_kept = False
_handle: int | None = None
"""Where standard output leads; None while it is not kept, or where it is closed."""


def keep() -> None:
    """Keep standard output for `write`; whatever else is printed goes to standard error.

    For the rest of the process: plugins leave threads and exit handlers behind.
    """
    global _kept, _handle  # noqa: PLW0603  # as the descriptor, it is the process's
    if _kept or sys.stdout is not sys.__stdout__:  # somebody takes down what is printed: a test
        return
    _kept = True
    if sys.stdout is not None:
        _flush()
        with suppress(OSError):
            _handle = fcntl(1, F_DUPFD_CLOEXEC, STANDARD_ERROR + 1)
        sys.stdout.reconfigure(line_buffering=True)
    _occupy_standard_streams()
    lead_to_stderr()


def write(text: str) -> None:
    """Write *text* and a line end; nothing where standard output is closed.

    Raises:
        OSError: it cannot be written.
    """
    if not _kept:
        click.echo(text)
    elif _handle is not None:
        encoding = (sys.__stdout__ and sys.__stdout__.encoding) or "utf-8"
        left = f"{text}\n".encode(encoding, "backslashreplace")
        while left:
            left = left[os.write(_handle, left) :]


@contextmanager
def lent() -> Iterator[None]:
    """Make descriptor 1 standard output again, for the moment in which its sink takes it."""
    if _handle is None:
        yield
        return
    _flush()  # what a plugin has begun to print
    os.dup2(_handle, 1)
    try:
        yield
    finally:
        lead_to_stderr()


def lead_to_stderr() -> None:
    """Lead descriptor 1 to standard error, if standard output is kept."""
    if not _kept:
        return
    try:
        os.dup2(STANDARD_ERROR, 1)
    except OSError:  # a plugin has closed it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        if nowhere != 1:
            os.close(nowhere)


def is_file() -> bool:
    """Whether standard output is redirected to a file."""
    try:
        return stat.S_ISREG(os.fstat(_descriptor()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def width() -> int:
    """Return how many characters fit on a line."""
    try:
        columns = 0 if os.environ.get("COLUMNS") else os.get_terminal_size(_descriptor()).columns
    except (OSError, ValueError, AttributeError):
        columns = 0
    return columns or shutil.get_terminal_size().columns


def _descriptor() -> int:
    return sys.stdout.fileno() if _handle is None else _handle


def _flush() -> None:
    with suppress(OSError, ValueError, AttributeError):  # a plugin has closed or replaced it
        sys.stdout.flush()


def _occupy_standard_streams() -> None:
    """Let nothing of ours become a standard stream that is closed: a child's noise would go there."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= STANDARD_ERROR:
        pass
    os.close(handle)
