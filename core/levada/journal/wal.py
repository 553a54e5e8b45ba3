"""SQLite's log as a crash left it: whether it ends there, or was damaged.

SQLite takes the first frame whose checksum does not fit for the end of what was committed, and
goes on without the rest. A crash leaves such an end; but so does a bit that has changed, and then
what was durable is gone without a word. The two can be told apart: every frame's checksum builds on
the one before, and a transaction is synced before the next one is written. So where frames of a later
transaction fit each other again, or a single bit explains the misfit, it was no crash. Format:
https://sqlite.org/fileformat2.html#the_write_ahead_log
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from itertools import count
from pathlib import Path
from struct import Struct, unpack, unpack_from
from typing import Final

from attrs import frozen

from levada.journal.files import PAGE_BYTES, log_of, synced, turn

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of a log that is looked at: about a second. SQLite starts it over after 4 MiB, if it can."""

_MAGIC: Final = 0x377F0682  # the lowest bit set: the checksums are of big-endian words
_HEADER: Final = Struct(">4I8s8s")
_FRAME: Final = Struct(">II8s8s")
_HEADER_SALTS: Final = slice(16, 24)
_SALTS_AT: Final = 8  # in a frame; what is before it, and the page, is what its checksum is of
_SUM_AT: Final = 16
_PAGE_SIZES: Final = {1 << power for power in range(9, 17)}
_WORD: Final = 0xFFFFFFFF
_SEED: Final = bytes(8)


@frozen
class Damage:
    """Where a log breaks off that did not end there."""

    bits: Sequence[int]
    """Which bit of the file may have changed, counted from its start; empty: more than one has."""


@frozen
class Held:
    """What a log holds, by its salts and what it says of each frame; the checksums are not looked at."""

    number: int
    """Of the log: one more than that of the one before, from which SQLite began it anew."""

    is_first: bool
    """Whether it is the first since a journal was closed: its number is by chance."""

    pages: Mapping[int, int]
    """Where the newest content of each page begins, in bytes, by the page's number, from 1."""

    size: int
    """Of the journal as of the last transaction, in pages."""

    def follows(self, number: int) -> bool:
        """Whether it is the log of that number, or the next one."""
        return self.is_first or self.number in {number, next_number(number)}


def held(path: Path, frames: int | None = None) -> Held | None:
    """Return what the log of the journal at *path* holds, in its first *frames*; None: nothing.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        with log_of(path).open("rb", buffering=0) as file:
            header = file.read(_HEADER.size)
            return _held(file, header, frames) if _is_header(header) else None
    except FileNotFoundError:
        return None


def _held(file: FileIO, header: bytes, most: int | None) -> Held | None:
    _, _, page_size, begun_anew, salts, _ = _HEADER.unpack(header)
    pages: dict[int, int] = {}
    size = 0
    for at in count() if most is None else range(most):
        start = _HEADER.size + at * (_FRAME.size + page_size)
        frame = os.pread(file.fileno(), _FRAME.size, start)
        if len(frame) < _FRAME.size or frame[_SALTS_AT:_SUM_AT] != salts:
            break
        page, committed, *_ = _FRAME.unpack(frame)
        pages[page] = start + _FRAME.size
        size = committed or size
    return Held(_number(header), not begun_anew, pages, size) if size else None


def has_frame(path: Path, at: int) -> bool:
    """Whether the log of the journal at *path* has a frame of that index, from 0, of ours; or a rest of one."""
    try:
        with log_of(path).open("rb", buffering=0) as file:
            header = file.read(_HEADER.size)
            file.seek(_HEADER.size + at * (_FRAME.size + PAGE_BYTES) + _SALTS_AT)
            salts = file.read(_SUM_AT - _SALTS_AT)
    except OSError:
        return False
    return len(salts) > 0 and salts == header[_HEADER_SALTS]


def next_number(number: int) -> int:
    """Return the number of the log that comes after that one."""
    return number + 1 & _WORD


def _number(header: bytes) -> int:
    return int.from_bytes(header[_HEADER_SALTS][:4], "big")


def damage(path: Path) -> Damage | None:
    """Return what has changed in the log of the journal at *path*; None: nothing, or it is too long.

    Nobody may be writing to it meanwhile.
    """
    log = log_of(path)
    if not log.exists() or not _HEADER.size < log.stat().st_size <= MOST_BYTES:
        return None
    content = log.read_bytes()
    if _is_header(content[: _HEADER.size]):
        return _Log(content).damage()
    bits = _bits_of_header(content)
    return Damage(bits[:1]) if bits else None


def mend(path: Path, damage: Damage) -> bool:
    """Turn the bit back that has changed, or have SQLite take what is there; return whether it did the first.

    The latter keeps all that follows. What is wrong in that one page shows in the journal.
    """
    log = log_of(path)
    if len(damage.bits) == 1:
        turn(log, damage.bits)
        return True
    log.write_bytes(_Log(log.read_bytes()).with_fitting_sums())
    synced(log)
    return False


def is_there(path: Path) -> bool:
    """Whether the journal at *path* has a log that SQLite can take something out of."""
    try:
        with log_of(path).open("rb") as file:
            is_header = _is_header(file.read(_HEADER.size))
            return is_header and file.seek(0, os.SEEK_END) >= _HEADER.size + _FRAME.size
    except FileNotFoundError:
        return False


class _Log:
    """A log whose header is right."""

    def __init__(self, content: bytes) -> None:
        magic, _, page, _, self._salts, self._header_sum = _HEADER.unpack_from(content)
        self._order = _order(magic)
        self._content = content
        self._size = _FRAME.size + page
        self._count = (len(content) - _HEADER.size) // self._size

    def damage(self) -> Damage | None:
        end = next((at for at in range(self._count) if not self._follows(at)), None)
        if end is None:
            return None
        bits = self._changed_bits(end)
        later = range(end, self._count - 1)
        if bits or any(self._ends_durably(at) for at in later):
            return Damage(bits)
        return None

    def begins(self) -> bool:
        """Whether its first frame fits its header."""
        return bool(self._count) and self._follows(0)

    def with_fitting_sums(self) -> bytes:
        """Return the log with checksums that let its first misfit and all that follows it pass."""
        content = bytearray(self._content)
        before, broken = self._header_sum, 0
        for at in range(self._count):
            broken += not self._follows(at)
            if broken > 1:
                break
            start = _HEADER.size + at * self._size
            before = _checksum(self._summed(at), before, self._order)
            content[start + _SALTS_AT : start + _FRAME.size] = self._salts + before
        return bytes(content)

    def _ends_durably(self, at: int) -> bool:
        """Whether a frame is the last of a transaction that another one came after."""
        _, committed, salts, _ = self._head(at)
        return bool(committed) and salts == self._salts and self._follows(at + 1)

    def _follows(self, at: int, before: bytes | None = None) -> bool:
        """Whether a frame fits a checksum, of the one before it unless told otherwise."""
        *_, salts, found = self._head(at)
        return bool(salts == self._salts and found == self._sum(at, before))

    def _changed_bits(self, at: int) -> list[int]:
        """Return the bits of the file each of which may keep a frame from fitting the one before it."""
        *_, salts, found = self._head(at)
        start = _HEADER.size + at * self._size
        right = self._sum(at)
        if found == right:
            return _placed(_single_bit(salts, self._salts), start + _SALTS_AT)
        if salts != self._salts:
            return []
        of_sum = _placed(_single_bit(found, right), start + _SUM_AT)
        if of_sum and at + 1 < self._count and self._follows(at + 1, right):
            return of_sum
        of_page = [
            (start + byte + (0 if byte < _SALTS_AT else _FRAME.size - _SALTS_AT)) * 8 + bit
            for byte, bit in _bits_behind(self._summed(at), self._before(at), found, self._order)
        ]
        if at + 1 < self._count and self._follows(at + 1):
            return of_page
        return of_page + of_sum

    def _head(self, at: int) -> tuple[int, int, bytes, bytes]:
        page, committed, salts, found = _FRAME.unpack_from(
            self._content, _HEADER.size + at * self._size
        )
        return page, committed, salts, found

    def _sum(self, at: int, before: bytes | None = None) -> bytes:
        return _checksum(self._summed(at), before or self._before(at), self._order)

    def _summed(self, at: int) -> bytes:
        """Return what the checksum of a frame is of, besides the one before."""
        start = _HEADER.size + at * self._size
        return (
            self._content[start : start + _SALTS_AT]
            + self._content[start + _FRAME.size : start + self._size]
        )

    def _before(self, at: int) -> bytes:
        return self._head(at - 1)[3] if at else self._header_sum


def _is_header(header: bytes) -> bool:
    if len(header) < _HEADER.size:
        return False
    magic, _, page, _, _, found = _HEADER.unpack(header)
    if magic & ~1 != _MAGIC or page not in _PAGE_SIZES:
        return False
    return bool(found == _checksum(header[:24], _SEED, _order(magic)))


def _bits_of_header(content: bytes) -> list[int]:
    """Return the bits each of which may keep the header from being one, the likeliest first."""
    found = []
    for bit in range(_HEADER.size * 8):
        turned = bytearray(content)
        turned[bit // 8] ^= 1 << bit % 8
        if _is_header(bytes(turned[: _HEADER.size])):
            found.append((not _Log(bytes(turned)).begins(), bit))
    return [bit for _, bit in sorted(found)]


def _order(magic: int) -> str:
    return ">" if magic & 1 else "<"


def _checksum(data: bytes, before: bytes, order: str) -> bytes:
    one, two = unpack(">II", before)
    words = unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = one + even + two & _WORD
        two = two + odd + one & _WORD
    return Struct(">II").pack(one, two)


def _bits_behind(data: bytes, before: bytes, found: bytes, order: str) -> Iterator[tuple[int, int]]:
    """Yield byte and bit of what, turned, gives *data* the checksum *found*.

    The checksum is linear: what a word has more adds the same to it whatever the others are. High
    bits of different words may add the same.
    """
    now = unpack(">II", _checksum(data, before, order))
    missing = tuple(
        there - here & _WORD for there, here in zip(unpack(">II", found), now, strict=True)
    )
    for word, (one, two) in _effects(len(data) // 4):
        (value,) = unpack_from(f"{order}I", data, word * 4)
        for power in range(32):
            more = -1 << power if value >> power & 1 else 1 << power
            if (one * more & _WORD, two * more & _WORD) == missing:
                byte = power // 8 if order == "<" else 3 - power // 8
                yield word * 4 + byte, power % 8


def _effects(words: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield every word, the last first, and what 1 more of it adds to the two halves of a checksum."""
    even, odd = (1, 1), (0, 1)
    for word in range(words - 2, -1, -2):
        yield word + 1, odd
        yield word, even
        even, odd = (_later(*even), _later(*odd))


def _later(one: int, two: int) -> tuple[int, int]:
    """Return what a difference has become two words later."""
    one = one + two & _WORD
    return one, two + one & _WORD


def _single_bit(here: bytes, there: bytes) -> int | None:
    """Return the one bit that two texts of the same length differ in."""
    differing = int.from_bytes(here, "little") ^ int.from_bytes(there, "little")
    return differing.bit_length() - 1 if differing.bit_count() == 1 else None


def _placed(bit: int | None, start: int) -> list[int]:
    """Return where in the file a bit is that was counted from *start*, in bytes."""
    return [] if bit is None else [start * 8 + bit]
