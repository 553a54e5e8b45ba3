"""What ends a command, in a few lines on standard error, and the exit code that goes with it."""

import io
import traceback
from collections.abc import Sequence

import click

from levada.cli import exit_codes, logs
from levada.cli.console import Console
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import scrubbed
from levada.cli.text import count, safe


def show(error: Exception) -> int:
    """Say what went wrong, and return the exit code. A traceback is shown only with --debug."""
    if isinstance(error, click.Abort):  # what click makes of Ctrl-C; the newline is out already
        return ExitCode.INTERRUPTED
    console = Console()
    if logs.is_debugging():
        for line in scrubbed(traceback.format_exc()).splitlines():
            console.line(safe(line))
    if isinstance(error, click.ClickException):
        shown = io.StringIO()
        error.show(shown)
        for line in shown.getvalue().splitlines():
            console.line(safe(line))
        return error.exit_code
    cause = _first(error)
    for line in lines(cause):
        console.line(line)
    return exit_codes.of_error(cause)


def lines(error: BaseException) -> Sequence[str]:
    """Return what to tell the operator about *error*, safe for a terminal."""
    from levada.errors import ConfigError, LevadaError

    if isinstance(error, ConfigError):
        problems = [
            str(problem) if problem.file else f"levada: {problem}" for problem in error.problems
        ]
        total = [count(len(problems), "problem")] if len(problems) > 1 else []
        return [safe(text) for text in (*problems, *total)]
    if isinstance(error, LevadaError):
        return [safe(f"levada: {text}") for text in (str(error), *getattr(error, "__notes__", ()))]
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return [safe(f"levada: {place}{error.strerror}")]
    blame = "levada: internal error"
    hint = "" if logs.is_debugging() else "; run again with --debug to see where, and report it"
    return [f"{blame} ({type(error).__name__}){hint}"]


def _first(error: BaseException) -> BaseException:
    """Return what a group of errors is about."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
