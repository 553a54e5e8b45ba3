"""Events straight from sources to standard output: no journal, no position, no folder."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

from attrs import define, field

from levada.batch import Delivery
from levada.calls import Calls
from levada.cli import exit_codes, failures, foreground, setups
from levada.cli.console import Console
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import say_json
from levada.cli.text import count, safe
from levada.errors import Closed, Failure, LevadaError, SinkError
from levada.event import Event
from levada.host import Host, HostContext
from levada.selection import Selection
from levada.setup import Setup, SourceSetup
from levada.sink import Sink
from levada.streaming import Stream

Write: TypeAlias = Callable[[Sequence[Event]], Awaitable[None]]


@define
class Reading:
    """What came of reading some sources to their ends."""

    events: int = 0
    rejected: int = 0
    """Items that cannot be events."""
    why: str = ""
    """Why the first of them cannot."""
    errors: list[LevadaError] = field(factory=list)
    closed: bool = False
    """The reader of standard output went away."""

    @property
    def code(self) -> ExitCode:
        """The exit code for all of it."""
        return exit_codes.worst(exit_codes.of_error(error) for error in self.errors)

    def show(self, console: Console) -> None:
        """Print what failed, and what was no event."""
        if self.rejected:
            what = f"{count(self.rejected, 'item')} cannot be an event; the first: {self.why}"
            console.line(safe(f"!!  {what}. `levada run` keeps them as dead letters"))
        for error in self.errors:
            for line in failures.lines(error):
                console.line(line)


def stdout_sink(setup: Setup | None = None) -> Sink:
    """Return the pipeline's own sink to standard output, or else one with its defaults."""
    for each in setup.sinks if setup else ():
        if each.sink.name == "stdout":
            return each.sink
    return setups.registry().sink("stdout")()


def dry_run(setup: Setup, console: Console, *, limit: int | None, as_json: bool) -> ExitCode:
    """Print the events of all sources from their beginning, and say which sink would get how many.

    With *as_json* that is said as one JSON object, on standard error: the events are on the other.
    """
    wanted: Counter[str] = Counter()

    def tally(events: Sequence[Event]) -> None:
        for sink in setup.sinks:
            wanted[sink.name] += sum(map(sink.selection.wants, events))

    host = Host(setup.settings)
    work = read(setup.sources, stdout_sink(setup), host, limit=limit, on_events=tally)
    reading = foreground.run(work, host, console)
    if as_json:
        say_json(_as_json(reading, setup, wanted), err=True)
        return reading.code
    if not reading.closed:
        console.line(
            f"dry run: {count(reading.events, 'event')}; nothing written, no position moved"
        )
        for sink in setup.sinks:
            console.line(safe(f"  {sink.name} would get {wanted[sink.name]:,}"))
    reading.show(console)
    return reading.code


def _as_json(reading: Reading, setup: Setup, wanted: Mapping[str, int]) -> dict[str, Any]:
    return {
        "exit_code": int(reading.code),
        "events": reading.events,
        "rejected": reading.rejected,
        "would_get": {sink.name: wanted[sink.name] for sink in setup.sinks},
        "errors": [str(error) for error in reading.errors],
    }


async def read(
    sources: Sequence[SourceSetup],
    sink: Sink,
    host: Host,
    *,
    selection: Selection | None = None,
    limit: int | None = None,
    on_events: Callable[[Sequence[Event]], None] = lambda _: None,
) -> Reading:
    """Write what is in *sources* to *sink*, up to *limit* events; a source that fails is noted."""
    selection = selection or Selection()
    reading = Reading()
    try:
        async with _writing(sink, host) as write:
            for source in sources:
                async for batch in _events(source, host, reading):
                    left = None if limit is None else limit - reading.events
                    events = [event for event in batch if selection.wants(event)][:left]
                    if events:
                        await write(events)
                    reading.events += len(events)
                    on_events(events)
                    if reading.events == limit:
                        return reading
    except Closed:
        reading.closed = True
    except Failure as failure:
        reading.errors.append(SinkError(sink.name, str(failure), local=True))
    return reading


async def _events(
    source: SourceSetup, host: Host, reading: Reading
) -> AsyncIterator[Sequence[Event]]:
    stream = Stream(source, None, host)
    try:
        async with aclosing(aiter(stream)) as batches:
            async for batch in batches:
                for each in batch.rejected:
                    reading.why = reading.why or each.reason
                reading.rejected += len(batch.rejected)
                yield batch.events
    except LevadaError as error:
        if isinstance(error, Failure):
            raise
        reading.errors.append(error)
    if unread := stream.intake.unread:
        reading.errors.append(unread)


@asynccontextmanager
async def _writing(sink: Sink, host: Host) -> AsyncIterator[Write]:
    """Open *sink* without a journal behind it."""
    ctx = _Loose(sink.name, sink, host)
    calls = Calls(ctx, lambda _: None)  # standard output may take for ever
    await calls.call("open", ctx)

    async def write(events: Sequence[Event]) -> None:
        await calls.call("write", Delivery(events, format=sink.format), ctx)

    try:
        yield write
    finally:
        await calls.call("close")


class _Loose(HostContext):
    """The services to a sink that no journal feeds."""

    journal = ""
