"""What people see: on a real pseudo-terminal, and of every event whatever it holds."""

import asyncio
import fcntl
import os
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import suppress

import pytest

from levada import Closed, Delivery, Json
from levada_stdout.terminal import Renderer, hint, wants_colour
from levada_stdout.text import cut, pad, safe, width
from plugins.stdout.conftest import Context, DeliveryOf, Opened, event

Terminal = tuple[int, int]

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal of 80 columns: the screen's side, and the program's."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen, handle = os.openpty()
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    yield screen, handle
    os.close(handle)
    with suppress(OSError):
        os.close(screen)


async def shown(screen: int, lines: int) -> str:
    """Return that many lines of what is on the screen."""
    found = b""
    while found.count(b"\n") < lines:
        found += await asyncio.to_thread(os.read, screen, 65536)
    return found.decode().replace("\r\n", "\n")


async def test_an_event_is_one_aligned_line(
    terminal: Terminal, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(terminal[1])
    data = {"eventType": "LLM_CALL_COMPLETED", "payload": {"model": "gpt-4o", "inputTokens": 245}}

    await sink.write(delivery(1, 2, data=data), ctx)

    text = ESCAPES.sub("", await shown(terminal[0], 2)).splitlines()
    assert text == [
        "04-02 12:00:01  step.completed      …n_def456  srun_aaa111     model=gpt-4o inp…",
        "04-02 12:00:02  step.completed      …n_def456  srun_aaa111     model=gpt-4o inp…",
    ]


def test_a_wide_terminal_has_room_for_the_year() -> None:
    line = Renderer(120, colour=False).line(event(1, data={"payload": {"model": "gpt-4o"}}))

    assert line.decode() == (
        "2026-04-02 12:00:01  step.completed      …n_def456  srun_aaa111     model=gpt-4o"
    )


@pytest.mark.parametrize("variable", [None, "NO_COLOR", "TERM"])
async def test_colours_unless_unwanted(
    variable: str | None,
    terminal: Terminal,
    opened: Opened,
    delivery: DeliveryOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if variable:
        monkeypatch.setenv(variable, "dumb")
    ctx = Context()
    sink = await opened(terminal[1])

    await sink.write(delivery(1, 1), ctx)

    assert ("\x1b[32m" in await shown(terminal[0], 1)) == (variable is None)


async def test_raw_is_raw_on_a_terminal_too(
    terminal: Terminal, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(terminal[1])
    parcel = Delivery(delivery(1, 1).events, format="raw")

    await sink.write(parcel, ctx)

    assert await shown(terminal[0], 1) == parcel.lines[0].decode() + "\n"


async def test_a_stopped_terminal_leaves_the_loop_free(
    terminal: Terminal, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(terminal[1])
    parcel = delivery(1, 2000)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sink.write(parcel, ctx), 0.1)
    write = asyncio.create_task(sink.write(parcel, ctx))
    text = await shown(terminal[0], 2000)
    await write

    assert len(set(ESCAPES.sub("", text).splitlines())) == 2000


async def test_a_terminal_that_goes_away_closes_the_sink(
    terminal: Terminal, opened: Opened, delivery: DeliveryOf, ctx: Context
) -> None:
    sink = await opened(terminal[1])
    os.close(terminal[0])

    with pytest.raises(Closed) as closed:
        await sink.write(delivery(1, 1), ctx)

    assert closed.value.written == 0


HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202eevil\u2066\u200b\ud800\U000e0041\x00"


@pytest.mark.parametrize("field", ["type", "kind", "partition", "subject", "data"])
@pytest.mark.parametrize("columns", [20, 80, 400])
def test_nothing_an_event_holds_reaches_the_terminal_as_a_control(field: str, columns: int) -> None:
    value: Json = {"payload": {HOSTILE: HOSTILE}} if field == "data" else HOSTILE * 3

    line = Renderer(columns, colour=False).line(event(1, **{field: value})).decode()

    assert not CONTROLS.search(line)
    assert line.isprintable()


@pytest.mark.parametrize("columns", [1, 10, 22, 40, 80, 200])
@pytest.mark.parametrize("letter", ["a", "漢", "e\u0301", "🙂"])
def test_a_line_is_never_wider_than_the_terminal(columns: int, letter: str) -> None:
    data = {"payload": {"text": letter * 300}}
    hostile = event(1, data=data, subject=letter * 30, partition=letter * 30, kind=letter * 30)

    line = Renderer(columns, colour=False).line(hostile).decode()

    assert width(line) <= columns


def test_the_hint_leaves_out_what_the_columns_say() -> None:
    data = {
        "id": "evt_1",
        "workflowRunId": "wfrun_def456",
        "stepRunId": None,
        "eventType": "STEP_COMPLETED",
        "createdAt": "2026-04-02T12:00:02.523Z",
        "payload": {
            "stepName": "enrich",
            "durationMs": 1523,
            "ok": True,
            "paid": "no",
            "empty": "",
        },
        "edge_label": "next",
        "list": [1, 2],
    }

    assert hint(event(1, data=data)) == (
        "stepName=enrich durationMs=1523 ok=true paid=no edge_label=next"
    )


@pytest.mark.parametrize("data", [[1], "text", None, 7])
def test_a_record_that_is_no_object_has_no_hint(data: Json) -> None:
    assert hint(event(1, data=data)) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain", "plain"), ("caf\xe9", "caf\xe9"), ("\x1b[", "\\x1b["), ("\u202e", "\\u202e")],
)
def test_safe_escapes_only_what_is_not(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_cut_and_pad_count_columns() -> None:
    assert cut("漢字漢字", 5) == "漢字…"
    assert pad("漢", 4) == "漢  "
    assert cut("abc", 0) == ""


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [({}, True), ({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_wants_colour(environ: dict[str, str], wanted: bool) -> None:
    assert wants_colour(environ) == wanted
