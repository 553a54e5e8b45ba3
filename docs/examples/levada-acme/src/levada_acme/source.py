"""The source: ACME's event feed, ``GET /events?after=N``, oldest first."""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from http import HTTPStatus
from typing import ClassVar

from attrs import define

from levada import (
    ApiKey,
    Batch,
    Event,
    Fatal,
    HttpClient,
    Json,
    Partition,
    Rejected,
    Secret,
    Source,
    SourceContext,
    option,
)

KINDS = {"job.begin": "run.started", "job.end": "run.completed", "job.crash": "run.failed"}
"""ACME's types in the vocabulary that all of Levada shares."""


@define
class AcmeSource(Source):
    """Follows the feed of one ACME account. The position is the number of events read so far."""

    name: ClassVar[str] = "acme"

    base_url: str = option(help="Where ACME answers, such as https://acme.example.")
    api_key: Secret = option(help="A key that may read events.", env="ACME_API_KEY")

    def identity(self) -> str:
        """Return what tells this account from another."""
        return self.base_url.rstrip("/")

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        """Yield page after page, until one is empty."""
        http = ctx.http(self.base_url, auth=ApiKey("X-API-Key", self.api_key))
        after = position or 0
        while items := await _page(http, after):
            after += len(items)
            found = [_event(item, partition) for item in items]
            events = [each for each in found if isinstance(each, Event)]
            rejected = [each for each in found if isinstance(each, Rejected)]
            yield Batch(events, position=after, rejected=rejected)


async def _page(http: HttpClient, after: int) -> list[Json]:
    # Time-outs, 429 and 5xx have been tried again when `get` returns; what is left is for good.
    response = await http.get("/events", {"after": after})
    if response.status != HTTPStatus.OK:
        raise Fatal(f"{response.place} answered {response.status}; check base_url and api_key")
    items: list[Json] = json.loads(response.body)["events"]
    return items


def _event(item: Json, partition: Partition) -> Event | Rejected:
    """Return the event in *item*; one that is none must not hold up the others."""
    raw = json.dumps(item).encode()  # one line of ASCII; `levada.page` keeps a vendor's own bytes
    try:
        return Event(
            str(item["id"]),
            type=item["type"],
            time=datetime.fromisoformat(item["time"]),
            partition=partition.key,
            raw=raw,
            subject=item["job"],
            kind=KINDS.get(item["type"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        return Rejected(raw, reason=f"not an event of ACME's: {type(error).__name__}")
