"""What could not be read in one pass, and whether that is about a partition or about the source."""

from collections.abc import Sequence
from typing import Final

from attrs import define, field

from levada.batch import Partition
from levada.errors import PluginError

CHANCES: Final = 3
"""For a partition in one pass, and for every read at a time before the source is to blame."""


@define
class Failures:
    """Of one pass, in which so many partitions are read at a time as *concurrency* says."""

    _concurrency: int
    reasons: dict[str, str] = field(factory=dict, init=False)
    """Partitions whose last read failed, and why."""

    is_discovery_over: bool = field(default=False, init=False)
    """Whether discovery has failed: a read that does too is not waited for any longer."""

    _crashes: dict[str, PluginError] = field(factory=dict, init=False)
    _again: list[Partition] = field(factory=list, init=False)
    _in_a_row: int = field(default=0, init=False)
    _refusals: int = field(default=0, init=False)
    _has_read: bool = field(default=False, init=False)

    @property
    def crash(self) -> PluginError | None:
        """What the source's own `read` raised, if it did."""
        return next(iter(self._crashes.values()), None)

    @property
    def in_words(self) -> str:
        """What failed, one partition by name."""
        key, reason = next(iter(self.reasons.items()))
        others = f", and {len(self.reasons) - 1} others" if len(self.reasons) > 1 else ""
        return f"could not read {key}{others}: {reason}" if key else reason

    def note_read(self) -> None:
        """Note that a partition was read to its end."""
        self._in_a_row = 0
        self._has_read = True

    def note(self, partition: Partition, reason: str, *, again: bool = True) -> None:
        """Note that a partition could not be read, and whether to try that *again* in this pass."""
        self.reasons[partition.key] = reason
        self._in_a_row += 1
        if again:
            self._again.append(partition)

    def note_crash(self, partition: Partition, error: PluginError) -> None:
        """Note that the source's own `read` raised."""
        self._crashes[partition.key] = error
        self.note(partition, str(error))

    def take_again(self) -> Sequence[Partition]:
        """Return those to try again, each of them once."""
        again, self._again = self._again, []
        return again

    def forget(self, partition: Partition) -> None:
        """Count a partition as one that has not failed: it is about to be tried again."""
        self.reasons.pop(partition.key, None)
        self._crashes.pop(partition.key, None)

    def is_refused_everywhere(self) -> bool:
        """Note that a partition was refused; tell whether it seems not to be about that one."""
        self._refusals += 1
        return self._refusals >= CHANCES and not self._has_read

    def is_everywhere(self) -> bool:
        """Whether so much failed in a row that it is not about the partitions."""
        most = 1 if self.is_discovery_over else CHANCES * self._concurrency
        return self._in_a_row >= most
