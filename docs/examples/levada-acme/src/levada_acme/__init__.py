"""What this package offers to Levada. Keep it light: `levada plugins` imports it."""

from collections.abc import Iterable

from levada import Sink, Source, hookimpl


@hookimpl
def event_sources() -> Iterable[type[Source]]:
    """Offer `AcmeSource`."""
    from levada_acme.source import AcmeSource

    return [AcmeSource]


@hookimpl
def event_sinks() -> Iterable[type[Sink]]:
    """Offer `AcmeSink`."""
    from levada_acme.sink import AcmeSink

    return [AcmeSink]
