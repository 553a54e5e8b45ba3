"""Durations as the pipeline file writes them: "250ms", "10s", "5m", "2h", "1d"."""

import re
from datetime import timedelta

UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}

HELP = "ms, s, m, h or d"

# The bounds on digits keep every duration short enough to be taken off today's date.
PATTERN = (
    r"^([0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m)|[0-9]{1,6}(\.[0-9]{1,6})?h|[0-9]{1,5}(\.[0-9]{1,6})?d)$"
)
_SHAPE = re.compile(PATTERN)
_PARTS = re.compile(r"([0-9.]+)([a-z]+)")


def parse(text: str) -> timedelta | None:
    """Read a duration; None where *text* is not one."""
    # `$` alone would let a final newline pass.
    if not _SHAPE.search(text) or text.endswith("\n"):
        return None
    parts = _PARTS.fullmatch(text)
    assert parts  # noqa: S101  # what _SHAPE accepts is a number and a unit
    number, unit = parts.groups()
    return UNITS[unit] * (float(number) if "." in number else int(number))


def render(duration: timedelta) -> str:
    """Write a duration so that `parse` reads it back, in the largest unit that is exact."""
    for unit, size in reversed(UNITS.items()):
        if duration and duration % size == timedelta(0):
            return f"{duration // size}{unit}"
    return f"{duration // UNITS['s']}.{duration.microseconds:06d}s" if duration else "0s"
