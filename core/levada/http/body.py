"""Bodies of bounded size, unpacked here because httpx unpacks first and asks later."""

import zlib
from collections.abc import Iterator

_PIECE = 64 * 1024  # bytes to unpack at a time: what is on its way to be kept is in memory too
_GZIP = 31  # zlib's number for: a gzip member, the largest window


class TooLong(Exception):  # noqa: N818  # never leaves levada.http
    """The body, packed or unpacked, is longer than the limit."""


class Broken(Exception):  # noqa: N818  # never leaves levada.http
    """The body is not what its content coding promises, or ends too early."""


class UnknownCoding(Exception):  # noqa: N818  # never leaves levada.http
    """The body is in a content coding, or several, that nobody asked for."""


class Body:
    """Collects a body and unpacks it on the way; never holds more than its limit.

    One content coding is accepted, ``gzip``: two are one too many, since 1.8 kB of gzip in gzip
    unpack to gigabytes.
    """

    def __init__(self, coding: str, *, limit: int) -> None:
        self._member = zlib.decompressobj(_GZIP) if _is_gzip(coding) else None
        self._room = self._packed_room = limit
        self._data = bytearray()  # not a list of pieces: those may be many, and of one byte each
        self._begun = False

    def feed(self, data: bytes) -> Iterator[int]:
        """Take the next piece as it came off the wire, part by part; yield the size after each.

        Raises:
            TooLong: the limit is reached; what fits is kept.
            Broken: this is not gzip.
        """
        self._begun = True
        self._packed_room -= len(data)
        for part in self._unpacked(data) if self._member else [data]:
            self._keep(part)
            yield len(self._data)
        if self._packed_room < 0:
            raise TooLong

    def finish(self) -> None:
        """Raise `Broken` unless the body is complete."""
        if self._member is not None and self._begun and not self._member.eof:
            raise Broken

    def drop(self) -> None:
        """Let go of what came: what failed is remembered for longer, and with it all that was at hand."""
        self._data = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._member is None or self._member.eof:  # a body may be several members
                self._member = zlib.decompressobj(_GZIP)
            try:
                part = self._member.decompress(data, _PIECE)
            except zlib.error:
                raise Broken from None
            yield part
            data = self._member.unused_data or self._member.unconsumed_tail
            if not data and (self._member.eof or len(part) < _PIECE):
                return

    def _keep(self, part: bytes) -> None:
        self._data += part[: self._room]
        self._room -= len(part)
        if self._room < 0:
            self._room = 0
            raise TooLong


def _is_gzip(coding: str) -> bool:
    match coding.strip().lower():
        case "gzip" | "x-gzip":
            return True
        case "" | "identity":
            return False
        case _:
            raise UnknownCoding
