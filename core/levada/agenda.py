"""Which partitions of a source are read in a pass, which go first, and what each is afterwards."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import TypeAlias

from levada.batch import Partition
from levada.reads import Urgency
from levada.source import Source
from levada.state import Stage, State, Tracked

Entry: TypeAlias = tuple[Partition, Tracked | None]
"""A partition to be read, and what is remembered of it."""


class Agenda:
    """Compares what discovery shows with what is remembered.

    What has changed is read once more after the source's linger, by the clock *now*: events may
    show late.
    """

    def __init__(self, source: Source, state: State, now: Callable[[], datetime]) -> None:
        self.hints: AbstractSet[str] = frozenset()
        """The keys of partitions that somebody asked for."""
        self._source = source
        self._state = state
        self._now = now

    def due(self, partition: Partition, tracked: Tracked | None) -> bool:
        """Tell whether a partition that discovery shows may have something new."""
        if tracked is None or partition.version is None or partition.key in self.hints:
            return True
        if tracked.partition.version != partition.version:
            return True
        return tracked.stage == "lingering" and not self._lingers(tracked)

    def unlisted(self, seen: AbstractSet[str]) -> list[Entry]:
        """Return what is read though discovery did not show it: what is open, and what was hinted."""
        found: list[Entry] = []
        for key, tracked in self._state.unfinished().items():
            if key not in seen and (key in self.hints or not self._lingers(tracked)):
                found.append((tracked.partition, tracked))
        for key in self.hints - seen - {partition.key for partition, _ in found}:
            known = self._state.tracked(key)
            found.append((known.partition if known else Partition(key), known))
        return found

    def urgency(self, partition: Partition, tracked: Tracked | None) -> Urgency:
        """Rank hints first and last looks last; else what changed longest ago has waited longest."""
        is_last_look = (
            tracked is not None
            and tracked.stage == "lingering"
            and partition.version == tracked.partition.version
        )
        rank = 0 if partition.key in self.hints else 2 if is_last_look else 1
        return rank, partition.changed.timestamp() if partition.changed else 0.0

    def stage(self, partition: Partition) -> Stage:
        """Return what a partition is that was just read to its end."""
        if self._changed_lately(partition):
            return "lingering"
        return "closed" if partition.final else "open"

    def was_waited_for(self, partition: Partition, tracked: Tracked) -> bool:
        """Tell whether a partition that is not there had its linger, and did not change in it."""
        is_unchanged = bool(tracked.partition.version == partition.version)
        return tracked.stage == "gone" or (tracked.stage == "lingering" and is_unchanged)

    def _lingers(self, tracked: Tracked) -> bool:
        """Whether to wait with the last read, for events that show late."""
        return tracked.stage == "lingering" and self._changed_lately(tracked.partition)

    def _changed_lately(self, partition: Partition) -> bool:
        changed = partition.changed
        return changed is not None and self._now() - changed < self._source.linger
