"""The file sink: events as JSON Lines in one file, or in a folder of rotating segments."""

from collections.abc import Iterable

from levada import Sink, hookimpl


@hookimpl
def event_sinks() -> Iterable[type[Sink]]:
    """Offer `FileSink`."""
    from levada_file.sink import FileSink

    return [FileSink]
