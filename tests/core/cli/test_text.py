import pytest

from levada.cli.text import columns, count, cut, safe, seconds, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, €, 漢", "plain, €, 漢"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eevil", r"\u202eevil"),
        ("\ud800", r"\ud800"),
    ],
)
def test_safe_escapes_what_a_terminal_would_act_on(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 events"), (1, "1 event"), (1284, "1,284 events")]
)
def test_counts(number: int, words: str) -> None:
    assert count(number, "event") == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0.04, "0.0 s"), (1.26, "1.3 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_seconds(number: float, words: str) -> None:
    assert seconds(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "1 byte"), (1023, "1,023 bytes"), (4200, "4.1 KiB"), (1 << 30, "1.0 GiB")],
)
def test_sizes(number: int, words: str) -> None:
    assert size(number) == words


def test_columns_put_numbers_to_the_right_below_their_heading() -> None:
    table = [("sink", "pending", "note"), ("file", "0", "x"), ("webhook", "1,284", "")]

    assert columns(table) == [
        "sink     pending  note",
        "file           0  x",
        "webhook    1,284",
    ]


def test_cut_shows_that_something_is_missing() -> None:
    assert (cut("short", 5), cut("longer", 5)) == ("short", "lo...")
