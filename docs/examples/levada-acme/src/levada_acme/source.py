"""The source: ACME's event feed, ``GET /events?after=N``, oldest first."""

from collections.abc import AsyncIterator

import msgspec
from attrs import define

from levada import (
    ApiKey,
    Batch,
    Event,
    Json,
    Partition,
    Rejected,
    Secret,
    Source,
    SourceContext,
    option,
    valid_header_value,
    valid_url,
)
from levada.page import Id, Moment, decode_page, refusal, to_events

KINDS = {"job.begin": "run.started", "job.end": "run.completed", "job.crash": "run.failed"}
"""ACME's types in the vocabulary that all of Levada shares."""


class Page(msgspec.Struct):
    """An answer of the feed. Its items stay the text that they are."""

    events: list[msgspec.Raw]


class Row(msgspec.Struct, rename={"subject": "job"}):
    """What Levada wants to know of an item."""

    id: Id
    type: str
    time: Moment = None
    subject: str | None = None


@define
class AcmeSource(Source):
    """Follows the feed of one ACME account. The position is the number of items read so far."""

    name = "acme"
    base_url: str = option(
        help="Where ACME answers, such as https://acme.example.", validator=valid_url()
    )
    api_key: Secret = option(
        help="A key that may read events.", env="ACME_API_KEY", validator=valid_header_value
    )

    def identity(self) -> str:
        """Return what tells this account from another."""
        return self.base_url.rstrip("/")

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        """Yield page after page, until one is empty."""
        http = ctx.http(self.base_url, auth=ApiKey("X-API-Key", self.api_key))
        count = position or 0
        while True:
            answer = await http.get("/events", {"after": count})
            if answer.status != 200:  # time-outs, 429 and 5xx have been tried again by now
                raise refusal(answer, secret=self.api_key)
            items = decode_page(answer, Page, items="events").events
            if not items:
                return
            rows = to_events(items, Row, partition=partition.key, kinds=KINDS, now=http.now())
            events = [row for row in rows if isinstance(row, Event)]
            rejected = [row for row in rows if isinstance(row, Rejected)]
            count += len(items)
            yield Batch(events, position=count, rejected=rejected)
