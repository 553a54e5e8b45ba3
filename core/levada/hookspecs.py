"""The two hooks by which a package offers connectors to Levada."""

from collections.abc import Iterable

import pluggy

from levada.sink import Sink
from levada.source import Source

PROJECT = "levada"

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)


@hookspec
def event_sources() -> Iterable[type[Source]] | None:
    """Offer event sources.

    Called right after the plugin was imported, which happens when a pipeline names one of its
    connectors or `levada plugins` lists them: once for each of its entry points in use. Must return at once: no input or
    output, nothing printed, no thread started; importing the module of the class is enough.

    Each class is offered under its `name`, which must be the name of an entry point of the
    package. Return None, or leave the hook out, to offer none.
    """


@hookspec
def event_sinks() -> Iterable[type[Sink]] | None:
    """Offer event sinks.

    Called as `event_sources` is, under the same rules. Return None, or leave the hook out, to
    offer none.
    """
