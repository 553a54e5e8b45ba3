"""What people see on a terminal, and what nobody else gets to see."""

import codecs
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from integration.test_cli_process import STARTED, Desk, until
from integration.test_cli_run import pipeline, stop
from levada.sandbox import Sandbox

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    every = timedelta(milliseconds=50)
    with Sandbox.in_thread(stevora=None, grow_every=every) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, sandbox: Sandbox) -> Desk:
    desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key, "TERM": "xterm"})
    desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
    return desk


class Terminal:
    """A process whose standard error, or all of it, is a terminal."""

    def __init__(self, command: dict[str, Any], *, whole: bool = False) -> None:
        self.mine, theirs = pty.openpty()
        self.process = subprocess.Popen(
            **command,
            stdin=theirs,
            stdout=theirs if whole else subprocess.DEVNULL,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        STARTED.append(self.process)
        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may cut a character

    def read(self) -> str:
        """Return all that was shown so far."""
        while select.select([self.mine], [], [], 0.05)[0]:
            try:
                data = os.read(self.mine, 65536)
            except OSError:  # its other side is closed
                break
            if not data:
                break
            self.seen += self._decoder.decode(data)
        return self.seen

    def close(self) -> str:
        self.process.wait(10)
        text = self.read()
        os.close(self.mine)
        return text


def test_a_live_line_is_rewritten_and_taken_away(desk: Desk) -> None:
    terminal = Terminal(desk.command("run", "p.toml", "--follow", NO_COLOR="1"))
    until(lambda: terminal.read().count("\r\x1b[K") > 3)
    terminal.process.send_signal(signal.SIGINT)

    text = terminal.close()

    assert re.search(r"\r\x1b\[Kkapso [0-9,]+  →  file [0-9,]+  [0-9,]+/s", text)
    rest = text.replace("\r\x1b[K", "").replace("\r\n", "")
    assert CONTROL.findall(rest) == []
    assert "\r\x1b[Kstopping: " in text
    assert text.rindex("\r\x1b[K") < text.index("stopped after")


def test_the_live_line_fits_the_terminal(desk: Desk) -> None:
    terminal = Terminal(desk.command("run", "p.toml", "--follow", NO_COLOR="1", COLUMNS="20"))
    until(lambda: terminal.read().count("\r\x1b[K") > 3)
    terminal.process.send_signal(signal.SIGINT)

    live = re.findall(r"\r\x1b\[K(kapso [^\r\n]*)", terminal.close())

    assert live
    assert {len(each) for each in live} == {19}


def test_a_dumb_terminal_gets_no_live_line(desk: Desk) -> None:
    terminal = Terminal(desk.command("run", "p.toml", TERM="dumb"))

    assert "\x1b" not in terminal.close()


def test_no_progress_and_no_colour_when_piped(desk: Desk) -> None:
    process = desk.start("run", "p.toml", "--follow")
    path = desk.folder / "events.jsonl"
    until(lambda: path.exists() and len(desk.ids("events.jsonl")) > 150)
    time.sleep(0.5)

    _, err = stop(process)

    first, *rest = err.splitlines()
    assert first.startswith("stopping: ")
    assert rest[0].startswith("stopped after ")
    assert CONTROL.findall(err.replace("\n", "")) == []


def test_events_on_the_screen_are_the_progress(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("out.toml", pipeline(sandbox, "[sinks.stdout]"))
    terminal = Terminal(desk.command("run", "out.toml", "--follow"), whole=True)
    until(lambda: "run.started" in terminal.read())
    time.sleep(0.5)
    terminal.process.send_signal(signal.SIGINT)

    assert "\x1b[K" not in terminal.close()


def test_hostile_text_reaches_no_terminal(desk: Desk) -> None:
    desk.write("evil\x1b[31m\u202e.toml", "x")

    done = desk.run("run", "evil\x1b[31m\u202e.toml")

    assert done.returncode == 2
    assert CONTROL.findall(done.stderr.replace("\n", "")) == []
    assert "\u202e" not in done.stderr
