"""What the process tells whoever started it: the one table of exit codes."""

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from levada.report import Report, SinkReport, SourceReport


class ExitCode(IntEnum):
    """How a command ended; `meaning` is what the documentation says of it."""

    meaning: str

    DONE = 0, "done"
    BUG = 1, "a bug in Levada"
    USAGE = 2, "the command line, the pipeline file or the environment is wrong"
    PLUGIN = 3, "a plugin is broken"
    UPSTREAM = 4, "an upstream refused: a wrong key, or for good"
    SINK = 5, "a sink stopped, or is disabled"
    STATE = 6, "the journal is in use, damaged or another pipeline's"
    STRICT = 7, "with --strict: there are new dead letters"
    LOCAL_IO = 74, "this machine's own disk, pipe or port failed"
    GAVE_UP = 75, "gave up waiting; the same command may succeed later"
    INTERRUPTED = 130, "ended at once by SIGINT"
    TERMINATED = 143, "ended at once by SIGTERM"

    def __new__(cls, code: int, meaning: str) -> Self:
        """Make a member out of its code and its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member


PRECEDENCE = (
    ExitCode.BUG,
    ExitCode.STATE,
    ExitCode.USAGE,
    ExitCode.PLUGIN,
    ExitCode.UPSTREAM,
    ExitCode.SINK,
    ExitCode.LOCAL_IO,
    ExitCode.GAVE_UP,
    ExitCode.STRICT,
)
"""Of several at once, the first one here counts."""


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the one code that stands for all of *codes*."""
    found = set(codes)
    return next((code for code in PRECEDENCE if code in found), ExitCode.DONE)


def of_error(error: BaseException) -> ExitCode:
    """Return the exit code that one error asks for."""
    from levada import errors

    if isinstance(error, errors.SourceError):
        return ExitCode.GAVE_UP if error.retryable else ExitCode.UPSTREAM
    if isinstance(error, errors.SinkError | errors.StateError) and error.local:
        return ExitCode.LOCAL_IO
    codes: dict[type[BaseException], ExitCode] = {
        errors.ConfigError: ExitCode.USAGE,
        errors.PluginError: ExitCode.PLUGIN,
        errors.SinkError: ExitCode.SINK,
        errors.StateError: ExitCode.STATE,
        OSError: ExitCode.LOCAL_IO,
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), ExitCode.BUG)


def of_report(report: "Report", *, strict: bool = False) -> ExitCode:
    """Return the exit code of a run that came to its end."""
    codes = [of_error(error) for error in report.errors]
    codes += [_of_source(source, strict=strict) for source in report.sources]
    codes += [_of_sink(sink, strict=strict) for sink in report.sinks]
    codes += [ExitCode.GAVE_UP] if report.ending == "gave up" else []
    return worst(codes)


def _of_source(source: "SourceReport", *, strict: bool) -> ExitCode:
    if source.failures:
        return ExitCode.GAVE_UP
    return ExitCode.STRICT if strict and source.rejected else ExitCode.DONE


def _of_sink(sink: "SinkReport", *, strict: bool) -> ExitCode:
    if sink.condition == "disabled":
        return ExitCode.SINK
    if sink.condition == "failing":
        return ExitCode.GAVE_UP
    return ExitCode.STRICT if strict and sink.dead else ExitCode.DONE
