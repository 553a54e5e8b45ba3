"""Log records on standard error: one record one line, whatever is in it."""

import logging
import sys
import threading
import time

from levada.cli.console import Console
from levada.cli.printing import scrubbed
from levada.cli.text import safe

log: logging.Logger = logging.getLogger("levada.cli")


def set_up(console: Console, level: int) -> None:
    """Show what Levada and its plugins log from *level* on, and only warnings of everyone else."""
    handler = _Handler(console)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)  # Python would write them as they are
    logging.getLogger("levada").setLevel(level)


def log_what_nobody_catches() -> None:
    """Log what ends a thread, or fails where nothing can be raised, as anything else.

    Python would write it as it is, with whatever secret a plugin put into it.
    """

    def in_thread(failed: threading.ExceptHookArgs) -> None:
        name = failed.thread.name if failed.thread else "unknown"
        text, found = f"thread {name} ended by", failed.exc_value or failed.exc_type()
        log.error("%s %s", text, type(found).__name__, exc_info=found)

    def unraisable(failed: "sys.UnraisableHookArgs") -> None:
        found = failed.exc_value or failed.exc_type()
        log.error("%s was ignored", type(found).__name__, exc_info=found)

    threading.excepthook, sys.unraisablehook = in_thread, unraisable


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
        except Exception as error:  # noqa: BLE001  # logging's own way would show the arguments
            self._console.line(
                f"a log record of {safe(record.name)} cannot be shown: {type(error).__name__}"
            )

    def _text(self, record: logging.LogRecord) -> str:
        message, level = safe(scrubbed(record.getMessage())), record.levelname.lower()
        if self._console.is_terminal:
            return f"{level}: {message}"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return f"{stamp} {level} {record.name}: {message}"

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        if not record.exc_info or not is_debugging():
            return []
        return scrubbed(logging.Formatter().formatException(record.exc_info)).splitlines()


def _style(level: int) -> dict[str, object]:
    if level >= logging.ERROR:
        return {"fg": "red"}
    return {"fg": "yellow"} if level >= logging.WARNING else {"dim": True}
