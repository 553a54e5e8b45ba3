"""Text that is safe to show on a terminal, measured in columns."""

import unicodedata

ELLIPSIS = "…"

_ONE_BYTE = 0xFF


def safe(text: str) -> str:
    """Return *text* with everything that a terminal might act on written as an escape.

    Controls, bidirectional and other invisible formatting, surrogates, line and paragraph
    separators: Unicode's categories C and Zl, Zp.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(char) if _is_unsafe(char) else char for char in text)


def width(text: str) -> int:
    """Return how many columns *text* takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def cut(text: str, columns: int) -> str:
    """Return *text* in at most *columns* columns, its end replaced by "…" where it is longer."""
    if width(text) <= columns:
        return text
    kept, room = [], columns - 1
    for char in text:
        room -= _columns(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + ELLIPSIS if columns > 0 else ""


def pad(text: str, columns: int) -> str:
    """Return *text* cut or filled with spaces to exactly *columns* columns."""
    text = cut(text, columns)
    return text + " " * (columns - width(text))


def _is_unsafe(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] == "C" or category in {"Zl", "Zp"}


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code <= _ONE_BYTE else f"\\u{code:04x}"


def _columns(char: str) -> int:
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1
