"""The line of every key and list item of a TOML document, which `tomllib` does not tell.

Reads only documents that `tomllib` accepted: what is between keys is skipped, never judged.
"""

import re
import tomllib
from collections.abc import Iterator

from levada.config.faults import Place

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')[ \t]*""")
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*\'''', re.DOTALL
)
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")


class Locations:
    """Where things are in one document; lines count from 1."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        _Scanner(text, self._lines).document()

    def __iter__(self) -> Iterator[Place]:
        return iter(self._lines)

    def line(self, place: Place) -> int | None:
        """Return the line of *place*, or of the nearest table around it; None for the document."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place)


class _Scanner:
    def __init__(self, text: str, lines: dict[Place, int]) -> None:
        self._text = text
        self._lines = lines
        self._at = 0
        self._line = 1
        self._arrays: dict[Place, int] = {}

    def document(self) -> None:
        table: Place = ()
        while self._skip(_BLANK) and self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Place:
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        place = self._key(())
        self._at += brackets
        if brackets == 2:  # noqa: PLR2004  # [[table]]
            self._arrays[place] = self._arrays.get(place, -1) + 1
            self._lines.setdefault(place, self._line)
            place = (*place, self._arrays[place])
        self._lines[place] = self._line
        return place

    def _pair(self, table: Place) -> None:
        place = self._key(table)
        self._lines[place] = self._line
        self._at += 1  # the "="
        self._value(place)

    def _key(self, table: Place) -> Place:
        place = table
        while True:
            match = _KEY.match(self._text, self._at)
            assert match  # noqa: S101  # tomllib accepted the document
            self._at = match.end()
            place = (*place, _unquoted(match[1]))
            if self._text[self._at] != ".":
                return place
            self._at += 1
            place = self._within(place)

    def _within(self, place: Place) -> Place:
        self._lines.setdefault(place, self._line)
        return (*place, self._arrays[place]) if place in self._arrays else place

    def _value(self, place: Place) -> None:
        self._skip(_BLANK)
        first = self._text[self._at]
        if first == "[":
            self._array(place)
        elif first == "{":
            self._inline_table(place)
        else:
            self._skip(_STRING if first in "\"'" else _BARE_VALUE)

    def _array(self, place: Place) -> None:
        index = 0
        while not self._ends("]"):
            self._lines[*place, index] = self._line
            self._value((*place, index))
            index += 1

    def _inline_table(self, place: Place) -> None:
        while not self._ends("}"):
            self._pair(place)

    def _ends(self, bracket: str) -> bool:
        """Step over the opening bracket or a comma; return whether *bracket* follows."""
        self._skip(_BLANK)
        if self._text[self._at] in "[{,":
            self._at += 1
        self._skip(_BLANK)
        if self._text[self._at] != bracket:
            return False
        self._at += 1
        return True

    def _skip(self, what: re.Pattern[str]) -> bool:
        match = what.match(self._text, self._at)
        assert match  # noqa: S101  # tomllib accepted the document
        self._line += match[0].count("\n")
        self._at = match.end()
        return True


def _unquoted(name: str) -> str:
    if name[0] not in "\"'":
        return name
    return str(tomllib.loads(f"name = {name}")["name"])
