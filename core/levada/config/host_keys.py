"""The keys of a connector's table that are the host's own."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from attrs import frozen

from levada.config.types import Type
from levada.connector import Connector
from levada.source import Source

Role: TypeAlias = Literal["source", "sink"]
Globs = str | Sequence[str]


@frozen
class HostKey:
    """A key that every source, or every sink, has without declaring it."""

    name: str
    type: Type
    help: str


_USE = HostKey("use", str, "The name of the connector; by default that of the table.")

_SOURCE_KEYS = (
    _USE,
    HostKey("account", str, "Part of every event's identity; by default the upstream's address."),
)
_SINK_KEYS = (
    _USE,
    HostKey("only", Globs, "Shell globs over kind or type; nothing else is wanted."),
    HostKey(
        "except", Globs, "Shell globs over kind or type that are not wanted; wins over `only`."
    ),
)


_KEYS: Mapping[Role, Sequence[HostKey]] = {"source": _SOURCE_KEYS, "sink": _SINK_KEYS}


def host_keys(role: Role) -> Sequence[HostKey]:
    """Return the host's keys of a source or a sink."""
    return _KEYS[role]


def names(role: Role) -> list[str]:
    """Return the names of the host's keys of a source or a sink."""
    return [key.name for key in _KEYS[role]]


def role_of(cls: type[Connector]) -> Role:
    """Return what a connector's class is."""
    return "source" if issubclass(cls, Source) else "sink"
