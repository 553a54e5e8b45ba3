"""What a run did: counts per source and sink, and what stands in the way."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from attrs import field, frozen

from levada.errors import LevadaError

Condition: TypeAlias = Literal["active", "failing", "closed", "disabled", "stopped"]
"""Of a sink: active and failing go on; closed, disabled and stopped get nothing more in a run."""

Ending: TypeAlias = Literal["done", "stopped", "gave up"]
"""done: caught up and delivered. stopped: asked to. gave up: a failing sink was left behind,
or a journal that stayed full."""


@frozen
class SourceReport:
    """One source's part in a run."""

    name: str
    connector: str
    partitions: int
    """Partitions that discovery showed last."""
    reads: int
    events: int
    """New events that went into the journal."""
    rejected: int
    requests: int
    failures: Mapping[str, str]
    """Partitions that could not be read, and why; they are tried again next time."""
    error: LevadaError | None = None
    """What stopped the source."""


@frozen
class SinkReport:
    """One sink's part in a run, and what it still has to get."""

    name: str
    connector: str
    delivered: int
    dead: int
    filtered: int
    pending: int
    condition: Condition
    reason: str = ""
    error: LevadaError | None = None


@frozen
class Report:
    """A whole run."""

    sources: Sequence[SourceReport]
    sinks: Sequence[SinkReport]
    ending: Ending
    seconds: float
    diagnostics: Mapping[str, int] = field(factory=dict)
    """What connectors reported besides events, and how often."""

    @property
    def errors(self) -> Sequence[LevadaError]:
        """What stopped connectors, sources first."""
        parts: Sequence[SourceReport | SinkReport] = (*self.sources, *self.sinks)
        return [part.error for part in parts if part.error is not None]
