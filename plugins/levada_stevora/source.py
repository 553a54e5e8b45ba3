"""The event source `stevora`."""

from collections.abc import AsyncIterator, Iterable

from attrs import define, field, validators

from levada import (
    Batch,
    Checkpoint,
    Event,
    Json,
    Partition,
    Secret,
    Source,
    SourceContext,
    option,
    valid_header_value,
    valid_url,
)
from levada_stevora.client import StevoraClient, normal_url
from levada_stevora.discovery import Discovery, Scope
from levada_stevora.known import Survey
from levada_stevora.reading import Reading


@define(slots=False, kw_only=True)
class StevoraSource(Source):
    """Events of workflow runs at Stevora, one partition per run.

    What has to be read shows in a few lists; a run that has not changed costs nothing, and one
    that has costs a request for each page of what is new. The total that Stevora gives with every
    page is a checksum: events that become visible late, and rows that change places, are found.
    """

    name = "stevora"

    api_key: Secret = option(
        env="STEVORA_API_KEY", help="The workspace's API key.", validator=valid_header_value
    )
    base_url: str = option(
        default="https://api.stevora.dev",
        help="Where the API is; with or without /v1, after /api if it is there.",
        validator=valid_url(),
    )
    runs: list[str] = option(
        default=[],
        help="Ids of the only runs to read, whatever `definitions` says.",
        validator=validators.deep_iterable(validators.min_len(1)),
    )
    definitions: list[str] = option(
        default=[],
        help="Ids of the workflow definitions to read runs of; default: all.",
        validator=validators.deep_iterable(validators.min_len(1)),
    )
    page_size: int = option(
        default=100,
        help="Rows to ask for in one request, 1 to 100.",
        validator=validators.and_(validators.ge(1), validators.le(100)),
    )

    _client: StevoraClient = field(init=False)
    _discovery: Discovery | None = field(init=False, default=None)
    _unknown: set[str] = field(init=False, factory=set)

    def identity(self) -> str:
        """Return the API's base URL, however it was written."""
        return normal_url(self.base_url)

    async def open(self, ctx: SourceContext) -> None:
        """Make the client; nothing is asked yet."""
        self._client = StevoraClient.connect(
            self.base_url, self.api_key, ctx, page_size=self.page_size
        )

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        """Yield what may have something new; see `levada_stevora.discovery`."""
        scope = Scope(self.runs, list(dict.fromkeys(self.definitions)))
        self._discovery = discovery = Discovery(self._client, scope, Survey.of(position), ctx)
        async for each in discovery.partitions():
            yield each

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        """Yield what is new in a run; see `levada_stevora.reading`."""
        discovery = self._discovery
        tracked = discovery.open if discovery else ctx.open_partitions
        is_closed = partition.key not in tracked
        since = discovery.looked_at if discovery else None
        reading = Reading(self._client, partition, position, ctx, since=since, is_closed=is_closed)
        async for batch in reading.batches():
            self._report_unknown(batch.events, ctx)
            yield batch
        if discovery and reading.is_over:
            discovery.note_over(partition.key)

    def _report_unknown(self, events: Iterable[Event], ctx: SourceContext) -> None:
        for name in {event.type for event in events if event.kind is None} - self._unknown:
            self._unknown.add(name)
            ctx.report("type.unknown", type=name[:100])
