"""Words and numbers as people read them, and text that a terminal cannot be tricked with."""

import re
from collections.abc import Iterable, Sequence

# C0 and C1 controls, bidirectional controls, line and paragraph separators, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_NUMBER = re.compile(r"[0-9,]+")


def safe(text: str) -> str:
    """Return *text* as one line, with everything escaped that a terminal might act on."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape", "replace").decode(), text)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 event``, ``1,284 events``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def seconds(number: float) -> str:
    """Return ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if number < 10:  # noqa: PLR2004  # a digit more where it tells something
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(number: int) -> str:
    """Return ``812 bytes``, ``4.1 KiB``, ``1.0 GiB``."""
    if number < 1024:  # noqa: PLR2004
        return count(number, "byte")
    value, unit = number / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if value < 1024:  # noqa: PLR2004
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}"


def cut(text: str, width: int) -> str:
    """Return *text* in at most *width* characters."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def columns(rows: Iterable[Sequence[str]], *, indent: str = "") -> list[str]:
    """Return one line per row, its cells aligned: numbers below a heading to the right."""
    table = list(zip(*rows, strict=True))
    lines = zip(*(_aligned(cells) for cells in table), strict=True)
    return [(indent + "  ".join(line)).rstrip() for line in lines]


def _aligned(cells: Sequence[str]) -> list[str]:
    width = max(map(len, cells))
    if cells[1:] and all(_NUMBER.fullmatch(cell) for cell in cells[1:]):
        return [cell.rjust(width) for cell in cells]
    return [cell.ljust(width) for cell in cells]
