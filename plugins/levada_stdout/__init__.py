"""The stdout sink: JSON Lines for a pipe or a file, aligned coloured lines for a terminal."""

from collections.abc import Iterable

from levada import Sink, hookimpl


@hookimpl
def event_sinks() -> Iterable[type[Sink]]:
    """Offer `StdoutSink`."""
    from levada_stdout.sink import StdoutSink

    return [StdoutSink]
