"""An event: the vendor's own record, with the few fields that everyone needs."""

import json
from datetime import datetime
from functools import cached_property

from attrs import field, frozen

from levada._json import Json


@frozen
class Origin:
    """Where the events of one partition come from; the host sets it.

    `connector` is the source's connector name ("kapso"), `account` tells apart two accounts at
    one vendor, `uri` is the CloudEvents ``source`` of the partition's events.
    """

    connector: str
    account: str
    uri: str


@frozen(slots=False)  # made twice for every event: without slots that takes a quarter less time
class Event:
    """One thing that happened in one execution, as its engine wrote it.

    A source sets the first seven fields; `origin` and `seq` are the journal's and None before an
    event has been through it. Two events are the same event when connector, account, partition
    and id agree.
    """

    id: str
    """The vendor's own id; unique in its partition."""

    type: str = field(kw_only=True)
    """The vendor's own name, untouched: ``step_completed``, ``LLM_CALL_COMPLETED``."""

    time: datetime = field(kw_only=True)
    """When it happened, by the vendor's clock; aware, UTC."""

    partition: str = field(kw_only=True)
    """The execution or run it belongs to."""

    raw: bytes = field(kw_only=True, repr=False)
    """The vendor's record as one line of UTF-8 JSON: its own bytes wherever possible."""

    subject: str | None = field(default=None, kw_only=True)
    """The step, or step run, it is about."""

    kind: str | None = field(default=None, kw_only=True)
    """Its name in the shared vocabulary (``step.completed``); None for a type unknown to us."""

    origin: Origin | None = field(default=None, kw_only=True, repr=False)
    """Where it came from, once it is in a journal."""

    seq: int | None = field(default=None, kw_only=True)
    """Its place in the journal: grows by one an event, never used twice."""

    def place(self, origin: Origin, seq: int | None) -> None:
        """Set where the event came from and its place in the journal. The host does, once.

        In place, because copying would cost as much as everything else about an event.
        """
        self.__dict__.update(origin=origin, seq=seq)

    @cached_property
    def data(self) -> Json:
        """The vendor's record, parsed on first use."""
        return json.loads(self.raw)
