"""What can go wrong, named by who has to act.

Two families, and nothing else leaves Levada on purpose::

    LevadaError
    ├── ConfigError     the pipeline file, an option or the environment is wrong
    ├── PluginError     a plugin cannot be loaded, or broke the contract
    ├── SourceError     an upstream refused, or kept failing
    ├── SinkError       a sink stopped
    ├── StateError      the journal is locked, damaged, full or another pipeline's
    └── Failure         what a connector raises to tell the host what to do next
        ├── Retry       try again later
        ├── Reject      these events can never be written; the rest was
        ├── TooLarge    the delivery is too large; split it
        ├── Disable     stop, and stay stopped until somebody enables the sink
        ├── Closed      the reader went away; stop quietly
        ├── Gone        this partition no longer exists upstream
        └── Fatal       configuration or credentials; stop, keep the state

Messages are one sentence: what happened, where, what to do. They never hold a secret, a payload
or the query of a URL.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from attrs import frozen

from levada._json import Json


class LevadaError(Exception):
    """Base of every error that Levada raises on purpose."""


@frozen
class Problem:
    """One thing wrong with a pipeline file or an option.

    `line` is 1-based; None where the problem has no line (a missing table, an environment
    variable). `text` never holds the offending value.
    """

    text: str
    path: str = ""
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (place, self.path, self.text) if part)


class ConfigError(LevadaError):
    """The pipeline file, an option or the environment is wrong; every problem found is in it."""

    def __init__(self, *problems: Problem | str) -> None:
        self.problems: Sequence[Problem] = tuple(
            problem if isinstance(problem, Problem) else Problem(problem) for problem in problems
        )
        super().__init__("\n".join(map(str, self.problems)))


class PluginError(LevadaError):
    """A plugin cannot be loaded, or a connector broke the contract.

    `distribution` and `version` name the installed package the plugin came from, where known.
    """

    def __init__(
        self,
        plugin: str,
        reason: str,
        *,
        distribution: str | None = None,
        version: str | None = None,
    ) -> None:
        self.plugin = plugin
        self.reason = reason
        self.distribution = distribution
        self.version = version
        package = " ".join(part for part in (distribution, version) if part)
        super().__init__(f"plugin '{plugin}'{f' ({package})' if package else ''} {reason}")


class SourceError(LevadaError):
    """A source stopped: its upstream refused it, or kept failing.

    `retryable` is True where the same command may succeed later without a change.
    """

    def __init__(self, source: str, reason: str, *, retryable: bool = False) -> None:
        self.source = source
        self.reason = reason
        self.retryable = retryable
        super().__init__(f"source '{source}': {reason}")


class SinkError(LevadaError):
    """A sink stopped. `local` is True where this machine's own disk or pipe is at fault."""

    def __init__(self, sink: str, reason: str, *, local: bool = False) -> None:
        self.sink = sink
        self.reason = reason
        self.local = local
        super().__init__(f"sink '{sink}': {reason}")


class StateError(LevadaError):
    """The journal is in use, damaged, another pipeline's, or its disk failed (`local` is True)."""

    def __init__(self, message: str, *, local: bool = False) -> None:
        self.local = local
        super().__init__(message)


REASON_CHARS: Final = 8_000
"""As much of a reason is told and kept: some quote an answer."""


class Failure(LevadaError):  # noqa: N818  # a verdict, not always an error
    """Base of what a connector raises to tell the host what to do next."""

    def __str__(self) -> str:
        """Return the reason, or the beginning of a long one."""
        return shortened(super().__str__())


class Retry(Failure):
    """Try the same thing again later.

    `after` is the wait the other side asked for or the connector decided on. It outlasts the
    process unless `persist` is False: what somebody may have put right meanwhile. None leaves the
    wait to the host's own back-off, which starts afresh when the process does. `everywhere` holds
    back the whole connector, not just this partition or delivery.
    """

    after: timedelta | None = None  # here too: a subclass may not call our __init__
    everywhere: bool = False
    persist: bool = True

    def __init__(
        self,
        reason: str,
        *,
        after: timedelta | None = None,
        everywhere: bool = False,
        persist: bool = True,
    ) -> None:
        self.after = after
        self.everywhere = everywhere
        self.persist = persist
        super().__init__(reason)


class Reject(Failure):
    """Some events of a delivery can never be written; all the others were.

    `reasons` maps (partition, event id) to a sentence; those events become dead letters.
    `receipt` is what `Sink.write` would have returned for the rest.
    """

    def __init__(self, reasons: Mapping[tuple[str, str], str], *, receipt: Json = None) -> None:
        self.reasons: dict[tuple[str, str], str] = {
            event: shortened(reason) for event, reason in reasons.items()
        }
        self.receipt = receipt
        super().__init__("; ".join(dict.fromkeys(self.reasons.values())))


class TooLarge(Failure):
    """The delivery is too large for the destination: the host splits it and tries again.

    A single event that is too large becomes a dead letter. Of an upstream's answer it says that
    it is longer than `max_response_bytes`; a read that lets it pass is tried again later.
    """


class Disable(Failure):
    """The destination is gone for good: the sink stays off, over restarts, until enabled."""


class Closed(Failure):
    """The reader of the destination went away (a pipe into `head`): stop quietly.

    `written` is how many events of the delivery, from its start, were wholly written.
    """

    written: int = 0

    def __init__(self, reason: str, *, written: int = 0) -> None:
        self.written = written
        super().__init__(reason)


class Gone(Failure):
    """A partition no longer exists upstream: it is closed, the others go on.

    `listed` says that a list still shows it as going on. Then it is not closed, but read again on
    every pass until it is there, or the list does not show it any more.
    """

    listed: bool = False

    def __init__(self, reason: str, *, listed: bool = False) -> None:
        self.listed = listed
        super().__init__(reason)


class Fatal(Failure):
    """Configuration or credentials are wrong: stop this connector, keep its state.

    `local` says that it is this machine's own disk or pipe that failed; `of_one` that what an
    upstream refused is about one partition, so that others may well be read. Only if the first
    few are all refused, and none was read, does the source stop.
    """

    local: bool = False
    of_one: bool = False

    def __init__(self, reason: str, *, local: bool = False, of_one: bool = False) -> None:
        self.local = local
        self.of_one = of_one
        super().__init__(reason)


def shortened(reason: str) -> str:
    """Return a reason, or the beginning of one that is too long to be shown and kept."""
    return reason if len(reason) <= REASON_CHARS else f"{reason[:REASON_CHARS]}…"


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first single exception in a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
