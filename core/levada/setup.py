"""What a pipeline is made of: its settings, its sources and its sinks."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import quote

from attrs import field, frozen, validators

from levada.asking import attribute_of, identity_of
from levada.batch import Partition
from levada.connector import option
from levada.errors import ConfigError
from levada.event import Origin
from levada.selection import Selection
from levada.sink import Sink
from levada.source import Source

MIB = 1024 * 1024

Network: TypeAlias = Literal["any", "public-only"]
"""``any``: wherever a URL leads. ``public-only``: to no private, local or special address."""


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


_BRIEF = timedelta(milliseconds=100)
"""In less than this no answer arrives and no file is closed, whoever is to blame."""


@frozen
class Settings:
    """The ``[pipeline]`` table."""

    state: Path = option(
        default=Path(".levada/pipeline"),
        help="The folder of the journal; by default `.levada/<file stem>` beside the file.",
    )
    poll_interval: timedelta = option(
        default=_seconds(10), help="With --follow: the pause between two looks at the sources."
    )
    concurrency: int = option(
        default=8,
        help="How many partitions of a source are read at once.",
        validator=validators.and_(validators.ge(1), validators.le(1_000)),
    )
    request_timeout: timedelta = option(
        default=_seconds(30),
        help="The whole of one HTTP exchange, from name resolution to last byte.",
        validator=validators.ge(_BRIEF),
    )
    network: Network = option(
        default="any",
        help="`public-only`: no connector reaches a private, local or special address.",
    )
    shutdown_timeout: timedelta = option(
        default=_seconds(8),
        help="How long a stop may take before the process ends itself.",
        validator=validators.ge(_BRIEF),
    )
    give_up_after: timedelta = option(
        default=_seconds(30),
        help="How long `run` waits for a failing sink once everything else is done.",
    )
    max_response_bytes: int = option(
        default=32 * MIB,
        help="Longest answer of an upstream, decompressed.",
        validator=validators.ge(1024),
    )
    max_event_bytes: int = option(
        default=MIB,
        help="Longest event; a longer one becomes a dead letter.",
        validator=validators.ge(1024),
    )
    max_journal_bytes: int = option(
        default=1024 * MIB,
        help="Size of the journal at which sources pause.",
        validator=validators.ge(MIB),
    )
    retention: timedelta = option(
        default=timedelta(hours=24), help="How long delivered events stay in the journal."
    )

    def __attrs_post_init__(self) -> None:
        if self.network not in get_args(Network):  # a slip of the pen must not allow everything
            raise ConfigError(f"`network` must be one of {', '.join(get_args(Network))}")


@frozen
class SourceSetup:
    """A source at its place in a pipeline.

    `account` is part of every event's identity: two sources with equal connector and account
    read the same events.
    """

    name: str
    source: Source
    account: str

    @classmethod
    def of(
        cls, source: Source, *, name: str | None = None, account: str | None = None
    ) -> "SourceSetup":
        """Set up *source* under its connector's name and its own identity unless told otherwise."""
        return cls(name or source.name, source, identity_of(source) if account is None else account)

    def origin(self, partition: Partition) -> Origin:
        """Return where the events of *partition* come from."""
        connector = self.source.name
        urn = ":".join(quote(part, safe="") for part in (connector, self.account, partition.key))
        return Origin(connector, self.account, partition.uri or f"urn:levada:{urn}")


@frozen
class SinkSetup:
    """A sink at its place in a pipeline, with what it wants."""

    name: str
    sink: Sink
    selection: Selection = field(factory=Selection)

    @classmethod
    def of(
        cls,
        sink: Sink,
        *,
        name: str | None = None,
        only: Sequence[str] = (),
        excluded: Sequence[str] = (),
    ) -> "SinkSetup":
        """Set up *sink* under its connector's name unless told otherwise."""
        return cls(name or sink.name, sink, Selection(only, excluded=excluded))


@frozen
class Setup:
    """A whole pipeline, ready to run. Names are unique among sources and among sinks."""

    sources: Sequence[SourceSetup]
    sinks: Sequence[SinkSetup]
    settings: Settings = field(factory=Settings)
    file: Path | None = None

    def __attrs_post_init__(self) -> None:
        for what, setups in (("source", self.sources), ("sink", self.sinks)):
            names = [each.name for each in setups]
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ConfigError(f"two {what}s are named '{min(twice)}'; give one another name")
        self._check_destinations()

    def _check_destinations(self) -> None:
        """Refuse two sinks that would write over one another."""
        taken: dict[tuple[str, str], str] = {}
        for each in self.sinks:
            destination = (str(attribute_of(each.sink, "name")), identity_of(each.sink))
            other = taken.setdefault(destination, each.name)
            if other != each.name and attribute_of(each.sink, "exclusive"):
                raise ConfigError(f"sinks '{other}' and '{each.name}' write to the same place")
