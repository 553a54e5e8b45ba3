"""Kapso for Levada: the events of workflow executions, read through the Platform API."""

from collections.abc import Iterable

from levada import Source, hookimpl


@hookimpl
def event_sources() -> Iterable[type[Source]]:
    """Offer the source `kapso`."""
    from levada_kapso.source import KapsoSource

    return [KapsoSource]
