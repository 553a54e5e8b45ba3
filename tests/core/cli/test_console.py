import io

import pytest

from levada.cli.console import Console


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "12")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_the_live_line_stays_below_the_others() -> None:
    screen = Screen()
    console = Console(screen)

    console.live("1 event")
    console.line("warning")
    console.live("")

    assert screen.getvalue() == "\r\x1b[K1 event\r\x1b[Kwarning\n1 event\r\x1b[K"


def test_the_live_line_is_cut_to_the_width() -> None:
    screen = Screen()

    Console(screen).live("0123456789abcdef")

    assert screen.getvalue() == "\r\x1b[K0123456789a"


def test_there_is_none_where_nobody_looks() -> None:
    pipe = io.StringIO()
    console = Console(pipe)

    console.live("1 event")
    console.line("done", fg="red")

    assert pipe.getvalue() == "done\n"


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured, plain = Screen(), Screen()

    Console(coloured).line("x", fg="red")
    monkeypatch.setenv("NO_COLOR", "1")
    Console(plain).line("x", fg="red")

    assert (coloured.getvalue(), plain.getvalue()) == ("\x1b[31mx\x1b[0m\n", "x\n")


def test_a_closed_stream_is_no_failure() -> None:
    pipe = io.StringIO()
    pipe.close()

    Console(pipe).line("x")

    assert not Console(pipe).is_terminal
