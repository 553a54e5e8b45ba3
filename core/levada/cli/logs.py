"""Log records on standard error: one record one line, whatever is in it."""

import logging
import time

from levada.cli.console import Console
from levada.cli.text import safe


def set_up(console: Console, level: int) -> None:
    """Show what Levada and its plugins log from *level* on, and only warnings of everyone else."""
    handler = _Handler(console)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=level <= logging.INFO)
    logging.getLogger("levada").setLevel(level)


def is_debugging() -> bool:
    """Return whether tracebacks are wanted."""
    return logging.getLogger("levada").isEnabledFor(logging.DEBUG)


class _Handler(logging.Handler):
    """Writes short lines to a terminal, and lines with time and logger to anything else."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; the traceback it may carry follows it only while debugging."""
        try:
            self._console.line(self._text(record), **_style(record.levelno))
            for line in self._traceback(record):
                self._console.line(f"    {safe(line)}")
        except Exception:  # noqa: BLE001  # as every logging handler
            self.handleError(record)

    def _text(self, record: logging.LogRecord) -> str:
        message, level = safe(_scrubbed(record.getMessage())), record.levelname.lower()
        if self._console.is_terminal:
            return f"{level}: {message}"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return f"{stamp} {level} {record.name}: {message}"

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        if not record.exc_info or not is_debugging():
            return []
        return _scrubbed(logging.Formatter().formatException(record.exc_info)).splitlines()


def _scrubbed(text: str) -> str:
    """Take secrets out of what was logged: a third party may have put one into its message."""
    from levada.secret import scrub_known  # not at the top: it would make `levada --help` slow

    return scrub_known(text)


def _style(level: int) -> dict[str, object]:
    if level >= logging.ERROR:
        return {"fg": "red"}
    return {"fg": "yellow"} if level >= logging.WARNING else {"dim": True}
