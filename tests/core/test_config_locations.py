import tomllib
from collections.abc import Iterator, Sequence
from textwrap import dedent
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levada.config.faults import Place
from levada.config.locations import Locations

T = TypeVar("T")

DOCUMENT = dedent(
    '''\
    # [not.a.table] x = 1
    [sources . "a.b"]   # = [
    one = 1             # [two] = 2
    "t w o" = 2
    three.four = 3
    'three'.five = 4
    text = """
    x = 1
    [sinks]
    \\"""still\\\\"""
    literal = \'\'\'
    y = """ 'quoted' ''\'\'\'
    list = [  # [
      "a, b]",
      [1, 2],  # ,
      { inner = "}", deep.er = [3,
        4] },
    ]
    inline = { a = 1, "b.c" = { d = "#" } } # }
    when = 1979-05-27 07:32:00Z
    empty = []
    nothing = {}

    [[points]]
    x = 1
    [points.sub]
    y = 2
    [[points]]
    x = 3
    [a.b.c]
    z = 1
    [a]
    w = 1
    '''
)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("sources",), 2),
        (("sources", "a.b"), 2),
        (("sources", "a.b", "one"), 3),
        (("sources", "a.b", "t w o"), 4),
        (("sources", "a.b", "three"), 5),
        (("sources", "a.b", "three", "four"), 5),
        (("sources", "a.b", "three", "five"), 6),
        (("sources", "a.b", "text"), 7),
        (("sources", "a.b", "literal"), 11),
        (("sources", "a.b", "list"), 13),
        (("sources", "a.b", "list", 0), 14),
        (("sources", "a.b", "list", 1), 15),
        (("sources", "a.b", "list", 1, 1), 15),
        (("sources", "a.b", "list", 2, "inner"), 16),
        (("sources", "a.b", "list", 2, "deep", "er", 1), 17),
        (("sources", "a.b", "inline", "b.c", "d"), 19),
        (("sources", "a.b", "when"), 20),
        (("sources", "a.b", "nothing"), 22),
        (("points",), 24),
        (("points", 0, "x"), 25),
        (("points", 0, "sub", "y"), 27),
        (("points", 1), 28),
        (("points", 1, "x"), 29),
        (("a", "b"), 30),
        (("a", "b", "c", "z"), 31),
        (("a",), 32),
    ],
)
def test_finds_the_line(place: Place, line: int) -> None:
    assert Locations(DOCUMENT).line(place) == line


def test_what_is_missing_is_where_its_table_is() -> None:
    locations = Locations("[a]\nb = 1\n\n[c]\n")

    assert locations.line(("a", "missing", "deeper")) == 1
    assert locations.line(("missing",)) is None


def test_counts_lines_that_end_as_on_windows() -> None:
    locations = Locations('a = """\r\nb\r\n"""\r\n[c]\r\nd = 1\r\n')

    assert locations.line(("c", "d")) == 5


def test_a_file_may_end_without_a_line_end() -> None:
    assert Locations("a = [1, 2]").line(("a", 1)) == 1
    assert Locations("[a]").line(("a",)) == 1
    assert Locations("").line(()) is None


TRAPS = ["x = 1", "[sinks]", "[[a]]", "}", "]", ",", "#", "'", "a.b", "=", '\\"', "\\\\"]
SCALARS = ["1", "-1.5e3", "true", "inf", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00", '""', "''"]
BLANKS = ["", "  ", "\n", "# [x] = {\n", '# """\n  # \'\n\n']


class Author:
    """Writes a random document, and notes the line of everything in it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[Place, int] = {}
        self._names = 0

    def document(self) -> None:
        for table in range(self.pick([1, 2, 3])):
            place: Place = ()
            if table:
                self.write("[")
                place = self.key(())
                self.write("]")
                self.end()
            for _ in range(self.pick([0, 1, 3])):
                self.pair(place)
                self.end()

    def pair(self, place: Place) -> None:
        place = self.key(place)
        self.write("=" + self.pick(["", " "]))
        self.value(place)

    def key(self, place: Place) -> Place:
        for last in self.pick([[True], [False, True]]):
            self._names += 1
            trap = self.pick(["", "", *TRAPS])
            name = f"k{self._names}{trap}"
            place = (*place, tomllib.loads(f'a = "{name}"')["a"])
            self.lines[place] = self.text.count("\n") + 1
            self.write(self.pick(["", " "]) + (f'"{name}"' if trap else name))
            self.write(self.pick(["", " "]) + ("" if last else "."))
        return place

    def value(self, place: Place, depth: int = 0) -> None:
        kinds = [self.scalar, self.string, self.paragraph]
        self.pick([*kinds, self.array, self.inline] if depth < 2 else kinds)(place, depth)

    def scalar(self, place: Place, depth: int) -> None:
        self.write(self.pick(SCALARS))

    def string(self, place: Place, depth: int) -> None:
        self.write(f'"{self.pick(TRAPS)}"')

    def paragraph(self, place: Place, depth: int) -> None:
        pieces = [
            self.pick(["\n", "\\\n", *TRAPS, '"', '""a']) for _ in range(self.pick([0, 2, 4]))
        ]
        text = '"""' + "".join(pieces).replace('"""', "") + '"""'
        self.write(text if parses(text) else "'''\n[a]\n'''")

    def array(self, place: Place, depth: int) -> None:
        self.write("[")
        for index in range(self.pick([0, 1, 2])):
            self.write(self.pick(BLANKS))
            self.lines[*place, index] = self.text.count("\n") + 1
            self.value((*place, index), depth + 1)
            self.write(self.pick(BLANKS) + ",")
        self.write(self.pick(BLANKS) + "]")

    def inline(self, place: Place, depth: int) -> None:
        self.write("{")
        for index in range(self.pick([0, 1, 2])):
            self.write(", " if index else "")
            inner = self.key(place)
            self.write("=")
            self.value(inner, depth + 1)
        self.write("}")

    def end(self) -> None:
        self.write(self.pick(["", " ", " # x = [1"]) + "\n" + self.pick(BLANKS))

    def write(self, text: str) -> None:
        self.text += text

    def pick(self, options: Sequence[T]) -> T:
        return self.draw(st.sampled_from(options))


def parses(value: str) -> bool:
    try:
        tomllib.loads(f"a = {value}")
    except tomllib.TOMLDecodeError:
        return False
    return True


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Place, int]]:
    author = Author(draw)
    author.document()
    return author.text, author.lines


@given(documents())
def test_finds_every_line_of_any_document(document: tuple[str, dict[Place, int]]) -> None:
    text, lines = document
    tomllib.loads(text)

    locations = Locations(text)

    assert {place: locations.line(place) for place in lines} == lines


def places(value: object, place: Place = ()) -> Iterator[Place]:
    yield place
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*place, step))


@given(documents())
def test_knows_every_key_that_tomllib_finds(document: tuple[str, dict[Place, int]]) -> None:
    text, _ = document

    locations = Locations(text)

    assert {*places(tomllib.loads(text))} - {()} == {*locations}
