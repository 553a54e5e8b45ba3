"""The header of a journal's file: what is the same in every one."""

from pathlib import Path
from typing import Final

from levada.journal.files import PAGE_BYTES, synced

APPLICATION_ID: Final = 0x4C565644  # "LVVD"

_MAGIC: Final = b"SQLite format 3\0"
_BYTES: Final = 100


def is_right(path: Path) -> bool:
    """Whether what is the same in every journal is in the header of this one, or it is none."""
    with path.open("rb") as file:
        header = file.read(_BYTES)
    return header == _right(header)


def put_right(path: Path) -> None:
    """Have the header of a journal say what it says in every one."""
    with path.open("r+b") as file:
        header = file.read(_BYTES)
        file.seek(0)
        file.write(_right(header))
    synced(path)


def _right(header: bytes) -> bytes:
    """Return the header of a journal with what is the same in every one put right.

    What does not say that it is a journal is left alone.
    """
    if header[68:72] != APPLICATION_ID.to_bytes(4, "big"):
        return header
    how = header[18:20] if header[18:20] == b"\1\1" else b"\2\2"  # as VACUUM INTO makes it, and we
    same = _MAGIC + PAGE_BYTES.to_bytes(2, "big") + how + b"\x00\x40\x20\x20"
    return same + header[len(same) :]
