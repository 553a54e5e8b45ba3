"""Stevora for Levada: the events of workflow runs, read through its REST API."""

from collections.abc import Iterable

from levada import Source, hookimpl


@hookimpl
def event_sources() -> Iterable[type[Source]]:
    """Offer the source `stevora`."""
    from levada_stevora.source import StevoraSource

    return [StevoraSource]
