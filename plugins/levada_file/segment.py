"""One open file, written at a known offset."""

import errno
import fcntl
import os
import time
import zlib
from pathlib import Path
from typing import Self

from attrs import define, frozen

from levada import Fatal, Json

TAIL_BYTES = 4096

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_STREAMS = (0, 1, 2)
_NO_FILE = {errno.ELOOP, errno.EISDIR, errno.ENXIO}  # it is a link, a folder, a socket
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


@frozen
class Mark:
    """How far a sink has come: its receipt."""

    segment: str
    """The file's name in its folder."""

    offset: int
    """How many of its bytes count."""

    created: float
    """When the segment was begun, in seconds since 1970."""

    tail: int
    """CRC-32 of the last 4 KiB before `offset`: another file in its place has another."""

    @classmethod
    def from_receipt(cls, receipt: Json) -> Self:
        """Read a receipt.

        Raises:
            Fatal: it is none of this sink's.
        """
        try:
            return cls(
                str(receipt["segment"]),
                int(receipt["offset"]),
                float(receipt["created"]),
                int(receipt["tail"]),
            )
        except (KeyError, TypeError, ValueError):
            raise Fatal("the journal's receipt is not one of a file sink; check `use`") from None

    def receipt(self) -> Json:
        """Return it as JSON."""
        return {
            "segment": self.segment,
            "offset": self.offset,
            "created": self.created,
            "tail": self.tail,
        }


@define
class Segment:
    """A file open for writing; `offset` is where our bytes end."""

    path: Path
    handle: int
    created: float
    offset: int = 0
    tail: bytes = b""

    @classmethod
    def create(cls, path: Path, *, mode: int) -> Self:
        """Create *path*, which must not exist; its name is not durable yet."""
        segment = cls(path, _opened(path, os.O_CREAT | os.O_EXCL, mode), time.time())
        os.fchmod(segment.handle, mode)
        return segment

    @classmethod
    def reopen(cls, path: Path, mark: Mark | None) -> Self:
        """Open *path* where *mark* says that we ended, and discard what is beyond.

        Without a mark, open an empty file that somebody left for us.

        Raises:
            Fatal: it is missing, shorter, or not what we wrote. Nothing was changed.
        """
        try:
            handle = _opened(path)
        except FileNotFoundError:
            raise Fatal(f"{path} is missing, but {_committed(mark)}; {_REMEDY}") from None
        except OSError as error:
            if error.errno in _NO_FILE:
                raise _another(path) from None
            raise
        segment = cls(path, handle, time.time())
        try:
            segment.check() if mark is None else segment._rewind(mark)
        except BaseException:
            segment.close()
            raise
        return segment

    def _rewind(self, mark: Mark) -> None:
        size = os.fstat(self.handle).st_size
        if size < mark.offset:
            raise Fatal(f"{self.path} holds {size} bytes, but {_committed(mark)}; {_REMEDY}")
        length = min(TAIL_BYTES, mark.offset)
        self.tail = os.pread(self.handle, length, mark.offset - length)
        if zlib.crc32(self.tail) != mark.tail:
            raise _another(self.path)
        if size > mark.offset:
            os.ftruncate(self.handle, mark.offset)
            os.fsync(self.handle)
        self.offset, self.created = mark.offset, mark.created

    @property
    def mark(self) -> Mark:
        """The receipt of everything up to `offset`."""
        return Mark(self.path.name, self.offset, self.created, zlib.crc32(self.tail))

    def check(self) -> None:
        """Make sure that nobody else wrote to the file, nor put another in its place.

        Raises:
            Fatal: somebody did.
        """
        ours = os.fstat(self.handle)
        try:
            there = self.path.lstat()
        except FileNotFoundError:
            raise Fatal(f"{self.path} was removed while it was written; {_REMEDY}") from None
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
            raise Fatal(f"{self.path} was replaced while it was written; {_REMEDY}")
        if ours.st_size != self.offset:
            raise Fatal(
                f"{self.path} holds {ours.st_size} bytes where this pipeline wrote {self.offset}: "
                f"somebody else writes to it; {_REMEDY}"
            )
        if os.pread(self.handle, len(self.tail), self.offset - len(self.tail)) != self.tail:
            raise Fatal(f"{self.path} was changed while it was written; {_REMEDY}")

    def append(self, payload: bytes) -> None:
        """Write *payload* at `offset` and wait for the disk; if that raises, `offset` stays."""
        rest = memoryview(payload)
        while rest:
            written = os.pwrite(self.handle, rest, self.offset + len(payload) - len(rest))
            rest = rest[written:]
        _sync(self.handle)
        self.offset += len(payload)
        self.tail = (self.tail + payload[-TAIL_BYTES:])[-TAIL_BYTES:]

    def close(self) -> None:
        """Close the file."""
        os.close(self.handle)


_REMEDY = (
    "put it back as it was, or choose another `path` and run once with --accept-identity-change"
)


def _another(path: Path) -> Fatal:
    return Fatal(f"{path} is not the file that this pipeline wrote; {_REMEDY}")


def _committed(mark: Mark | None) -> str:
    return f"{mark.offset if mark else 0} bytes of it are committed"


def _opened(path: Path, how: int = 0, mode: int = 0o600) -> int:
    """Open *path*; never as the descriptor of a standard stream that somebody has closed.

    What is said on that stream would go into the file.
    """
    handle = os.open(path, _FLAGS | how, mode)
    if handle > _STREAMS[-1]:
        return handle
    try:
        return fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, _STREAMS[-1] + 1)
    finally:
        os.close(handle)
