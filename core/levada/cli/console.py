"""Standard error: whole lines, and on a terminal one live line below them."""

import os
import shutil
import sys
import threading
from contextlib import suppress
from typing import TextIO

import click

from levada.cli.printing import scrubbed

ERASE = "\r\x1b[K"


class Console:
    """Writes to standard error, from any thread. That nobody can read it is no failure."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._lock = threading.Lock()
        self._live = ""

    @property
    def is_terminal(self) -> bool:
        """Whether a live line can be shown."""
        try:
            return bool(self._stream) and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        except ValueError:  # closed
            return False

    @property
    def width(self) -> int:
        """How many characters fit on a line."""
        return shutil.get_terminal_size().columns

    @property
    def arrow(self) -> str:
        """An arrow that the other side's encoding has."""
        encoding = getattr(self._stream, "encoding", None) or "ascii"
        return "→" if encoding.lower().replace("-", "") == "utf8" else "->"

    def line(self, text: str = "", **style: object) -> None:
        """Write *text* and a line end, above the live line if there is one.

        Secrets are taken out first: what connectors say of a failure is shown as they say it.
        """
        text = scrubbed(text)
        if style and self.is_terminal and not os.environ.get("NO_COLOR"):
            text = click.style(text, **style)  # type: ignore[arg-type]  # its keywords are many
        with self._lock:
            erase = ERASE if self._live else ""
            self._write(f"{erase}{text}\n{self._live}")

    def live(self, text: str) -> None:
        """Replace the live line, cut to the width of the terminal; "" takes it away."""
        if not self.is_terminal:
            return
        width = self.width - 1
        with self._lock:
            if text or self._live:
                self._live = text[:width]
                self._write(f"{ERASE}{self._live}")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.write(text)
                self._stream.flush()
