"""The contract of an event source."""

from collections.abc import AsyncIterator, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import ClassVar, Protocol

from attrs import define, validators

from levada._json import Json
from levada.batch import Batch, Checkpoint, Partition
from levada.connector import Connector, Context, option
from levada.event import Event

KEPT_IDS = 100
"""A closed partition may open again. So many of its ids are kept until it is settled."""


class Backlog(Protocol):
    """Turns pages that come newest first into batches that go oldest first, in bounded memory."""

    def push(self, events: Iterable[Event]) -> None:
        """Add the next page, its events as the vendor sent them: newest first."""

    def batches(self, position: Json) -> AsyncIterator[Batch]:
        """Yield all of it oldest first; the last batch carries *position*.

        Yields one empty batch with *position* when nothing was pushed.
        """


class SourceContext(Context, Protocol):
    """The host's services to a source."""

    @property
    def open_partitions(self) -> Mapping[str, Partition]:
        """The partitions that are not closed, by key: those that go on, and those that linger.

        As they were when last read; `version` is None where the last read failed.
        """

    @property
    def hints(self) -> AbstractSet[str]:
        """The keys of partitions that somebody asked to have read in this pass.

        They are read whatever their version. What `partitions` does not yield of them is read as
        it is known, or as ``Partition(key)``.
        """

    async def known(self, partition: str, ids: Iterable[str]) -> set[str]:
        """Return those of *ids* that were already read in *partition*.

        All its ids are remembered while it is open; once closed, those of its newest `KEPT_IDS`.
        """

    def count(self, partition: str) -> int:
        """Return how many events of *partition* were read so far."""

    def backlog(self) -> Backlog:
        """Return an empty backlog, thrown away with the read that asked for it."""


@define(slots=False, kw_only=True)
class Source(Connector):
    """Reads events out of one upstream.

    Only `read` must be written. The host calls `open` once, then for every pass `partitions`
    and, for each partition that may hold something new, `read`: several partitions at a time,
    one partition never twice at once.
    """

    live: ClassVar[bool] = False
    """`read` never returns: a receiver, a queue. Needs `--follow`."""

    linger: timedelta = option(
        default=timedelta(seconds=60),
        help="How long after its last change an execution is read once more, for late events.",
    )
    rate_share: float = option(
        default=0.5,
        help="Share of the vendor's request allowance to use before pacing.",
        validator=validators.and_(validators.gt(0), validators.le(1)),
    )
    rate_limit: int | None = option(
        default=None,
        help="Requests a minute to assume where the vendor does not tell; none: free.",
        validator=validators.optional(validators.ge(1)),
    )

    async def open(self, ctx: SourceContext) -> None:
        """Get ready: make clients, check what can be checked. Called once, before anything else."""

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        """Yield the partitions that may hold something new, oldest first where that is known.

        Called once a pass. *position* is that of the last stored `Checkpoint`, None at first.
        Open partitions that are not yielded are read all the same. The default is one single
        feed, read on every pass.
        """
        yield Partition("")

    def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        """Yield what is new in *partition* after *position*, oldest first; return when caught up.

        *position* is that of the last durable batch that carried one, None at first. What was
        yielded before a failure stands; events yielded twice are kept once.

        Raises:
            Retry: tried again on a later pass; others go on.
            Gone: the partition was removed upstream.
            Fatal: the source stops.
        """
        raise NotImplementedError(f"{type(self).__name__}.read")
