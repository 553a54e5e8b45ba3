"""An event as one line for people."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC

from attrs import frozen

from levada import Event, Json
from levada_stdout.text import ELLIPSIS, cut, pad, safe, width

_DIM, _RED, _GREEN, _YELLOW, _CYAN, _MAGENTA = "2", "31", "32", "33", "36", "35"

_COLOUR_OF_ENDING = {
    "failed": _RED,
    "error": _RED,
    "triggered": _RED,
    "completed": _GREEN,
    "ended": _GREEN,
    "performed": _GREEN,
    "started": _CYAN,
    "entered": _CYAN,
    "retrying": _YELLOW,
    "cancelled": _YELLOW,
    "fallback": _YELLOW,
    "timeout": _YELLOW,
    "out": _YELLOW,  # timed_out
}
_BOOKKEEPING = re.compile(r"(?:^|_)id$|[a-z]Id$|_at$|[a-z]At$|^event_?[tT]ype$")
"""Keys of a record that say nothing beyond the columns."""

_NAME_COLUMNS = 18
_PARTITION_COLUMNS = 9
_SUBJECT_COLUMNS = 14
_GAP = "  "
_ROOM_FOR_THE_YEAR = 100


def wants_colour(environ: Mapping[str, str]) -> bool:
    """Whether the person at the terminal wants colours (https://no-color.org, TERM)."""
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def columns_of(handle: int) -> int:
    """Return the width of the terminal behind a descriptor; 80 where it does not tell."""
    try:
        return os.get_terminal_size(handle).columns or 80
    except OSError:
        return 80


@frozen
class Renderer:
    """Shows events in *columns* columns: time (UTC), kind, partition, subject, a hint of the rest."""

    columns: int
    colour: bool

    def line(self, event: Event) -> bytes:
        """Return one line, without a line end; safe to show whatever the event holds."""
        parts, room = [], self.columns
        for text, style in self._columns(event):
            text = cut(text, room)  # noqa: PLW2901  # what is left of it
            room -= len(_GAP) + width(text)
            parts.append(self._painted(text, style))
            if room <= 0:
                break
        return _GAP.join(parts).rstrip().encode()

    def _columns(self, event: Event) -> Iterator[tuple[str, str]]:
        name = event.kind or event.type
        ending = name.rpartition(".")[2].rpartition("_")[2].lower()
        time = event.time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        yield time if self.columns >= _ROOM_FOR_THE_YEAR else time[5:], _DIM
        yield pad(safe(name), _NAME_COLUMNS), _COLOUR_OF_ENDING.get(ending, "")
        yield pad(_end_of(safe(event.partition)), _PARTITION_COLUMNS), _MAGENTA
        yield pad(safe(event.subject or ""), _SUBJECT_COLUMNS), ""
        yield hint(event), _DIM

    def _painted(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self.colour and style and text.strip() else text


def hint(event: Event) -> str:
    """Return what the event's record says besides the other columns: ``model=gpt-4o error=…``."""
    shown = {event.id, event.type, event.partition, event.subject}
    pairs = (
        f"{safe(key)}={safe(value if isinstance(value, str) else json.dumps(value))}"
        for key, value in _details(event.data)
        if value not in shown and not _BOOKKEEPING.search(key)
    )
    return " ".join(pairs)


def _details(data: Json) -> Iterator[tuple[str, str | int | float | bool]]:
    """Yield the scalars of a record: first those one level down, where the payload is."""
    if not isinstance(data, dict):
        return
    for value in data.values():
        if isinstance(value, dict):
            yield from _scalars(value)
    yield from _scalars(data)


def _scalars(data: dict[str, Json]) -> Iterator[tuple[str, str | int | float | bool]]:
    for key, value in data.items():
        if isinstance(value, str | int | float) and value != "":
            yield key, value


def _end_of(text: str) -> str:
    """Return the end of an id: it tells runs apart where they begin alike."""
    if len(text) <= _PARTITION_COLUMNS:
        return text
    return ELLIPSIS + text[1 - _PARTITION_COLUMNS :]
