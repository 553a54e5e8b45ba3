"""The protocol by which every event is in the files exactly once.

The journal holds the *mark*: a segment and an offset. On stable storage, the segments before it
and that many bytes of it are exactly the events delivered so far. A write appends beyond the
mark, waits for the disk, and only then returns the new mark, which the host commits together
with its cursor. Whatever happens in between, what lies beyond the committed mark is cut off and
written again, with the same bytes.
"""

import errno
import os
import stat
import threading
import time
import zlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from attrs import define, field

from levada import Fatal
from levada_file.faults import translated
from levada_file.intent import Intent, Owner
from levada_file.layout import Layout, sync_folder
from levada_file.segment import Mark, Segment

_GZIP_LEVEL = 6
_GZIP_FORMAT = 31  # zlib's number for "a gzip header, with no time in it"


@define(kw_only=True)
class Writer:
    """Writes deliveries to segments. Blocking; one call at a time, whatever the thread."""

    layout: Layout
    rotate_bytes: int
    rotate_every: timedelta | None
    owner: Owner

    committed: Mark | None = field(default=None, init=False)
    """Where the files end as far as the host knows. The caller sets it when a write's mark has
    reached the host; until then the next write starts over from the old one."""

    _intent: Intent = field(init=False)
    _segment: Segment | None = field(default=None, init=False)
    _one_call: threading.Lock = field(factory=threading.Lock, init=False)

    @_intent.default
    def _no_intent(self) -> Intent:
        return Intent(self.layout, self.owner)

    def restore(self, mark: Mark | None) -> None:
        """Bring the files back to *mark*, and go on from there.

        Raises:
            Fatal: they are not what *mark* says, or hold what we did not write.
            Retry: the disk is full.
        """
        with self._one_call, translated(self.layout.path):
            self.committed = mark
            self._intent.load(mark)
            self._restore()

    def write(self, lines: Sequence[bytes]) -> Mark:
        """Write lines beyond the committed mark; return the new mark once they are durable.

        Raises:
            Retry: the disk is full; the files are back at the committed mark.
            Fatal: the disk failed, or somebody else touched the files.
        """
        payload = self._encode(lines)
        with self._one_call, translated(self.layout.path):
            self._settle()
            try:
                return self._append(payload)
            except BaseException:
                self._restore()  # a full disk gets its space back at once
                raise

    def close(self) -> None:
        """Close the open segment."""
        with self._one_call:
            self._let_go()

    def _encode(self, lines: Sequence[bytes]) -> bytes:
        text = b"\n".join(lines) + b"\n"
        if not self.layout.gzip:
            return text
        # A whole member, so that every mark is the end of one; no time, so that bytes repeat.
        packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
        return packer.compress(text) + packer.flush()

    def _settle(self) -> None:
        """Find out how the last write ended: its mark reached the host, or its bytes have to go."""
        if self._segment is None or self._segment.mark != self.committed:
            self._restore()
        else:
            self._segment.check()
            self._intent.withdraw()

    def _append(self, payload: bytes) -> Mark:
        segment = self._room_for(payload)
        try:
            segment.append(payload)
        except OSError as error:
            if error.errno != errno.EIO or self.layout.one_file:
                raise
            segment = self._abandon(segment)
            segment.append(payload)
        return segment.mark

    def _room_for(self, payload: bytes) -> Segment:
        if self._segment is None:
            return self._start(0 if self.layout.one_file else 1)
        if self._is_due(self._segment, len(payload)):
            return self._start(self.layout.number(self._segment.path.name) + 1)
        return self._segment

    def _is_due(self, segment: Segment, more: int) -> bool:
        if self.layout.one_file or not segment.offset:
            return False
        too_large = segment.offset + more > self.rotate_bytes
        age_s = time.time() - segment.created
        # Younger than nothing: the clock was set back, and nobody knows any more how old it is.
        too_old = (
            self.rotate_every is not None and not 0 <= age_s < self.rotate_every.total_seconds()
        )
        other_format = (segment.path.suffix == ".gz") != self.layout.gzip
        return too_large or too_old or other_format

    def _start(self, number: int) -> Segment:
        path = self.layout.segment(number)
        self._let_go()
        left_for_us = self._is_left_for_us(path)
        self._intent.declare(number, self.committed)
        try:
            if left_for_us:
                self._segment = Segment.reopen(path, None)
            else:
                self._segment = Segment.create(path, mode=self.layout.mode)
        except (FileExistsError, Fatal):  # it came this very moment
            self._intent.withdraw()
            raise _not_ours(path) from None
        self._intent.made(os.fstat(self._segment.handle).st_ino, self.committed)
        sync_folder(self.layout.folder)
        return self._segment

    def _is_left_for_us(self, path: Path) -> bool:
        """Whether a file is there that may be used: an empty one."""
        try:
            there = path.lstat()
        except FileNotFoundError:
            return False
        if there.st_size or not stat.S_ISREG(there.st_mode):
            raise _not_ours(path)
        return True

    def _abandon(self, segment: Segment) -> Segment:
        """Leave a segment whose disk failed, as it was committed, for a new one.

        Once it said EIO the kernel may call lost pages clean: asking again would prove nothing.
        """
        number = self.layout.number(segment.path.name)
        self._let_go()
        if self.committed and self.committed.segment == segment.path.name:
            Segment.reopen(segment.path, self.committed).close()
        else:
            segment.path.unlink()
            sync_folder(self.layout.folder)  # the intent is about to name another
        return self._start(number + 1)

    def _restore(self) -> None:
        self._let_go()
        self._discard_newer()
        if self.committed:
            path = self.layout.folder / self.committed.segment
            self._segment = Segment.reopen(path, self.committed)
        self._intent.withdraw()

    def _discard_newer(self) -> None:
        """Remove what we began and never committed; stop at what is not ours."""
        last = self.layout.number(self.committed.segment) if self.committed else -1
        newer = self.layout.newer(last)
        ours = [path for path in newer if self._intent.covers(path)]
        for path in newer:
            size = path.lstat().st_size
            if size and path not in ours:
                raise _not_ours(path)
        for path in ours:
            path.unlink()
        if ours:
            sync_folder(self.layout.folder)

    def _let_go(self) -> None:
        if self._segment:
            self._segment.close()
            self._segment = None


def _not_ours(path: Path) -> Fatal:
    return Fatal(
        f"{path} holds {path.lstat().st_size} bytes that this sink, as it is now, "
        "did not write; move it away or point `path` elsewhere"
    )
