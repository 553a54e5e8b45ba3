"""What is remembered of a source between reads, and between runs."""

from collections.abc import Awaitable, Iterable, Mapping
from typing import Final, Literal, Protocol, TypeAlias

from attrs import frozen

from levada._json import Json
from levada.batch import Batch, Checkpoint, Partition

Stage: TypeAlias = Literal["open", "lingering", "closed", "gone"]
"""open: more may come. lingering: read once more after the linger. closed: nothing will come."""

CLOSED: Final = frozenset[Stage]({"closed", "gone"})


@frozen
class Tracked:
    """What is remembered of a partition: as it was when last read to its end, and how far."""

    partition: Partition
    position: Json = None
    stage: Stage = "open"


@frozen
class Kept:
    """What became of a batch."""

    new: int = 0
    """Events that were not known before."""

    rejected: int = 0
    """Items that became dead letters, and were none before."""


class State(Protocol):
    """What one source's intake remembers.

    Each write returns at once; what it returns resolves when the write is durable. Writes become
    durable in the order they were made.
    """

    @property
    def position(self) -> Json:
        """The position of the last checkpoint; None before the first."""

    def tracked(self, key: str) -> Tracked | None:
        """Return what is remembered of a partition."""

    def unfinished(self) -> Mapping[str, Tracked]:
        """Return the partitions that are open or lingering."""

    def known(self, key: str, ids: Iterable[str]) -> set[str]:
        """Return those of *ids* that were read before."""

    def count(self, key: str) -> int:
        """Return how many events of a partition were read."""

    async def room(self, batch: Batch) -> None:
        """Wait until there is room for a batch; then it is kept at once."""

    def keep(self, partition: Partition, batch: Batch) -> Awaitable[Kept]:
        """Keep a batch and its position."""

    def settle(self, partition: Partition, stage: Stage) -> Awaitable[object]:
        """Remember that a partition was read to its end in its present version."""

    def checkpoint(self, checkpoint: Checkpoint) -> Awaitable[object]:
        """Remember a position of the discovery; forget closed partitions that it settles."""
