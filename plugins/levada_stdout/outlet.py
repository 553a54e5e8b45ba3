"""Standard output, kept to ourselves while the sink is open."""

import asyncio
import os
import select
import stat
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from contextlib import suppress
from fcntl import F_GETFL, fcntl
from itertools import accumulate
from typing import Self

from attrs import define, field

from levada import Fatal

PIECE = 4096
"""POSIX's least atomic write to a pipe is smaller, Linux's is this: a pipe that polls as writable
takes so much without blocking."""

FILE_PIECE = 1024 * 1024
_TURN = 256 * 1024  # bytes after which others on the loop get their turn


@define
class Text:
    """Lines on their way out: which bytes were accepted, and which lines thereby."""

    id: str
    data: bytes
    ends: list[int]
    at: int = 0

    @classmethod
    def of(cls, name: str, lines: Iterable[bytes]) -> Self:
        """Join *lines*, adding the line ends."""
        whole = [line + b"\n" for line in lines]
        return cls(name, b"".join(whole), list(accumulate(map(len, whole))))

    @property
    def whole_lines(self) -> int:
        """How many lines, from the first on, were accepted to their end."""
        return bisect_right(self.ends, self.at)

    @property
    def end_of_line(self) -> int:
        """Where the line that was begun ends; `at` itself between two lines."""
        if self.at in {0, *self.ends[self.whole_lines - 1 : self.whole_lines]}:
            return self.at
        return self.ends[bisect_left(self.ends, self.at)]

    def piece(self, limit: int, stop: int) -> bytes:
        """Return up to *limit* bytes from here, whole lines if they fit, none beyond *stop*."""
        most = min(self.at + limit, stop)
        whole = bisect_right(self.ends, most)
        end = self.ends[whole - 1] if whole else 0
        return self.data[self.at : end if end > self.at else most]


@define
class Outlet:
    """The descriptor that was standard output. Descriptor 1 leads to standard error meanwhile."""

    handle: int
    _saved: int
    is_terminal: bool
    is_file: bool
    _poll: "select.poll" = field(factory=select.poll, init=False)

    @classmethod
    def take(cls) -> Self:
        """Take standard output, so that nobody else's printing gets between our lines.

        Raises:
            Fatal: it is closed.
        """
        _flush()
        try:
            saved = os.dup(1) if sys.__stdout__ else None
        except OSError:
            saved = None
        if saved is None:  # where it was closed from the start, 1 may lead anywhere by now
            raise Fatal("standard output is closed; redirect it to where events shall go")
        is_terminal = os.isatty(saved)
        is_file = stat.S_ISREG(os.fstat(saved).st_mode)
        outlet = cls(_own_terminal(saved) if is_terminal else saved, saved, is_terminal, is_file)
        outlet._poll.register(outlet.handle, select.POLLOUT)
        _lead_to_stderr(1)
        return outlet

    def give_back(self) -> None:
        """Make descriptor 1 standard output again."""
        _flush()
        os.dup2(self._saved, 1)
        for handle in {self.handle, self._saved}:
            os.close(handle)

    async def write(self, text: Text, *, stop: int | None = None) -> None:
        """Write the rest of *text*, or up to *stop*; never blocks the loop, may wait for ever.

        Keeps `text.at` true whatever happens, cancellation included.

        Raises:
            BrokenPipeError: the reader is gone.
            OSError: the disk is full, the terminal is gone.
        """
        stop = len(text.data) if stop is None else stop
        limit = FILE_PIECE if self.is_file else PIECE
        turn = text.at + _TURN
        while text.at < stop:
            if not self._poll.poll(0):
                await self._writable()
            with suppress(BlockingIOError):  # somebody else filled the terminal first
                text.at += os.write(self.handle, text.piece(limit, stop))
            if text.at > turn:
                turn = text.at + _TURN
                await asyncio.sleep(0)

    def finish_line(self, text: Text) -> None:
        """Finish the line that was begun, as far as that goes without waiting."""
        stop = text.end_of_line
        while text.at < stop and self._poll.poll(0):
            text.at += os.write(self.handle, text.piece(PIECE, stop))

    async def sync(self) -> None:
        """Wait for the disk, if that is where it goes."""
        if self.is_file:
            await asyncio.to_thread(getattr(os, "fdatasync", os.fsync), self.handle)

    def is_torn(self) -> bool:
        """Whether we would append to a line that somebody left unfinished in a file."""
        with suppress(OSError):
            reader = os.open(f"/dev/fd/{self.handle}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                appends = fcntl(self.handle, F_GETFL) & os.O_APPEND
                end = os.lseek(reader if appends else self.handle, 0, 2 if appends else 1)
                return end > 0 and os.pread(reader, 1, end - 1) not in {b"", b"\n"}
            finally:
                os.close(reader)
        return False

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(self.handle, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(self.handle)


def _own_terminal(saved: int) -> int:
    """Open the terminal anew, not blocking; `saved` itself where that is forbidden.

    A terminal that polls as writable may yet block in the middle of a piece. Its flags are not
    ours to change: the shell shares them.
    """
    try:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(os.ttyname(saved), flags)
    except OSError:
        return saved


def _lead_to_stderr(handle: int) -> None:
    try:
        os.dup2(2, handle)
    except OSError:  # standard error is closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, handle)
        os.close(nowhere)


def _flush() -> None:
    with suppress(OSError, ValueError, AttributeError):  # closed, replaced, or None
        sys.stdout.flush()
