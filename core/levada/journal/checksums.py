"""The checksums of the journal's blocks, beside it in ``state.db.sums``: whether it has changed.

SQLite finds fault with a structure that is broken, but not with a value that has become another
one. The checksums are those of the file as it was when a log was last put into it: nothing else
changes it. What a crash leaves is compared but for the blocks that its log holds; those have
checksums there, and may be half-written here.
"""

import os
import zlib
from array import array
from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Final, TypeAlias

from attrs import field, frozen

from levada.journal import wal
from levada.journal.files import PAGE_BYTES, has_log, log_of, synced, turn

BLOCK: Final = PAGE_BYTES
"""Bytes."""

MOST_BYTES: Final = 256 * 1024 * 1024
"""Of a journal whose blocks are noted: a quarter of a second, when it is opened."""

Sums: TypeAlias = Sequence[int]
"""The checksums of a file's blocks, in their order; 0: it is not known."""

_MAGIC: Final = b"levada sums 2\n"
_NUMBER_BYTES: Final = 4


@frozen
class Change:
    """How a journal's file differs from what was written to it."""

    bits: dict[int, int] = field(factory=dict)
    """Which bit of a block has changed, where it is a single one: damage, surely."""

    more: int = 0
    """Blocks of which more has changed, or that are gone: also another program may have done it."""

    is_beside_log: bool = False
    """Whether the log is there through which any program would have done it."""

    def __bool__(self) -> bool:
        return bool(self.bits or self.more)

    def __str__(self) -> str:
        if self.more:
            return (
                f"{self.more + len(self.bits)} of its blocks have changed since they were written"
            )
        return f"bits of it have changed since they were written: {len(self.bits)}"

    @property
    def is_damage(self) -> bool:
        """Whether no program can have done it, but for a fault of its disk."""
        return bool(self) and (self.is_beside_log or not self.more)


_in_hand: set[str] = set()
"""The journals that this process has open to write to them."""


def take_in_hand(path: Path) -> None:
    """Have nobody in this process look at the file: to close it would undo SQLite's locks on it."""
    _in_hand.add(os.path.realpath(path))


def let_go(path: Path) -> None:
    """Have it looked at again, as its connections are closed."""
    _in_hand.discard(os.path.realpath(path))


def of(path: Path) -> Sums | None:
    """Return the checksums of a journal's file as it is; None: it is too large for that.

    Of a last block that was cut nothing is known: when the file grows, it will be another one.

    Nobody in this process may have it open; see `take_in_hand`.
    """
    if path.stat().st_size > MOST_BYTES:
        return None
    found = array("I")
    with path.open("rb") as file:
        while chunk := file.read(BLOCK * 256):
            blocks = (chunk[start : start + BLOCK] for start in range(0, len(chunk), BLOCK))
            found.extend(zlib.crc32(block) if len(block) == BLOCK else 0 for block in blocks)
    return found


def note(path: Path) -> None:
    """Leave the checksums of a journal that is closed, and right as it is.

    Raises:
        OSError: they cannot be written.
    """
    found = of(path)
    if found is not None and not has_log(path):
        write(path, 0, found)


def forget(path: Path) -> None:
    """Remove the checksums, before a write to what they are of that `Upkeep` does not make.

    Raises:
        OSError: the folder cannot be written to.
    """
    if path_of(path).exists():
        path_of(path).unlink()
        synced(path.parent)


def change(path: Path, now: Sums | None = None) -> Change:
    """Return what has changed since it was written, as far as that was noted.

    *now* are the checksums of the file as it is, if they are known. May be asked while another
    process has it open.
    """
    which, number, noted = _noted(path)
    if noted is None or os.path.realpath(path) in _in_hand:
        return Change()
    now = of(path) if now is None else now
    log = wal.held(path)
    if now is None or (log and not log.follows(number)) or _noted(path)[0] != which:
        return Change()
    bits, more = {}, 0
    for block, (before, after) in enumerate(zip_longest(noted, now)):
        if before in {after, 0}:
            continue
        if log and (block + 1 in log.pages or block >= min(len(noted), log.size)):
            continue
        if before is not None and after is not None and before ^ after in _bits():
            bits[block] = _bits()[before ^ after]
        else:
            more += 1
    return Change(bits, more, is_beside_log=log is not None and not log.is_first)


def turn_back(path: Path, change: Change) -> None:
    """Turn the single bits back that have changed."""
    turn(path, (block * BLOCK * 8 + bit for block, bit in change.bits.items()))


def path_of(path: Path) -> Path:
    """Return where the checksums of the journal at *path* are."""
    return path.with_name(f"{path.name}.sums")


def brought_up(sums: Sums | None, path: Path, log: wal.Held) -> Sums | None:
    """Return the checksums of a file that had *sums* before the log was put into it."""
    if sums is None or log.size * BLOCK > MOST_BYTES:
        return None
    found = array("I", sums[: log.size])
    found.extend([0] * (log.size - len(found)))
    with log_of(path).open("rb") as file:
        for page, start in log.pages.items():
            if page <= log.size:
                found[page - 1] = zlib.crc32(os.pread(file.fileno(), BLOCK, start))
    return found


def write(path: Path, number: int, sums: Sums) -> None:
    """Leave checksums, those of a file that has had the log of that number put into it.

    Raises:
        OSError: they cannot be written.
    """
    content = _MAGIC + number.to_bytes(_NUMBER_BYTES, "big") + array("I", sums).tobytes()
    draft = path.with_name(f"{path.name}.sums-new")
    draft.unlink(missing_ok=True)
    try:
        draft.touch(mode=0o600)
        draft.write_bytes(content + _crc(content))
        synced(draft)
        draft.rename(path_of(path))
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    synced(path.parent)


def _noted(path: Path) -> tuple[object, int, Sums | None]:
    """Return what tells the note from every other, which log was in the file, and the checksums.

    None: there are none to trust.
    """
    if not path_of(path).is_file():  # a pipe, say, would not let go of us
        return None, 0, None
    try:
        with path_of(path).open("rb") as file:
            found, content = os.fstat(file.fileno()), file.read()
    except OSError:
        return None, 0, None
    which = found.st_ino, found.st_mtime_ns
    content, crc = content[:-4], content[-4:]
    if not content.startswith(_MAGIC) or crc != _crc(content):
        return which, 0, None
    content = content.removeprefix(_MAGIC)
    sums = array("I")
    sums.frombytes(content[_NUMBER_BYTES:])
    return which, int.from_bytes(content[:_NUMBER_BYTES], "big"), sums


def _crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


@cache
def _bits() -> dict[int, int]:
    """Return which bit of a block has changed, by the difference that it makes to the checksum.

    No other bit makes the same one, and no two bits do.
    """
    block = bytearray(BLOCK)
    none = zlib.crc32(block)
    found = {}
    for bit in range(BLOCK * 8):
        block[bit // 8] = 1 << bit % 8
        found[zlib.crc32(block) ^ none] = bit
        block[bit // 8] = 0
    return found
