"""The event source `kapso`."""

from collections.abc import AsyncIterator
from datetime import timedelta

from attrs import define, field, validators

from levada import (
    Batch,
    Checkpoint,
    Json,
    Partition,
    Secret,
    Source,
    SourceContext,
    option,
    valid_header_value,
    valid_url,
)
from levada_kapso.capabilities import Capabilities
from levada_kapso.client import KapsoClient, normal_url
from levada_kapso.discovery import Discovery, Scope
from levada_kapso.executions import Executions
from levada_kapso.feed import Feed
from levada_kapso.reading import Kapso, Reading, Terms


@define(slots=False, kw_only=True)
class KapsoSource(Source):
    """Events of workflow executions at Kapso, one partition per execution.

    What has to be read shows in a few lists; an execution that has not changed costs nothing.
    Events may become visible late: none is missed that is late by less than `window`, or than
    `linger` where nothing follows it.
    """

    name = "kapso"

    api_key: Secret = option(
        env="KAPSO_API_KEY", help="The project's API key.", validator=valid_header_value
    )
    base_url: str = option(
        default="https://api.kapso.ai/platform/v1",
        help="Where the Platform API is; with or without /platform/v1.",
        validator=valid_url(),
    )
    workflows: list[str] = option(
        default=[],
        help="Ids of the workflows to read; default: all of the project.",
        validator=validators.deep_iterable(validators.min_len(1)),
    )
    executions: list[str] = option(
        default=[],
        help="Ids of the only executions to read, whatever `workflows` says.",
        validator=validators.deep_iterable(validators.min_len(1)),
    )
    page_size: int = option(
        default=100,
        help="Rows to ask for in one request, 1 to 100.",
        validator=validators.and_(validators.ge(1), validators.le(100)),
    )
    window: timedelta = option(
        default=timedelta(seconds=10),
        help="How far behind the newest event of an execution late events are looked for.",
    )
    lookback: timedelta = option(
        default=timedelta(seconds=60),
        help="How much later than its start an execution may show in the list.",
    )
    hold: timedelta = option(
        default=timedelta(0),
        help="How long an event waits for earlier ones that are late; 0s: it goes at once.",
    )
    log_search: bool = option(
        default=False,
        help="Let Kapso's log search say what is new, and look at the lists only every `reconcile`.",
    )
    reconcile: timedelta = option(
        default=timedelta(minutes=15),
        help="With `log_search`: how often all lists are looked at, whatever it says.",
    )

    _client: KapsoClient = field(init=False)
    _capabilities: Capabilities = field(init=False)
    _discovery: Discovery | None = field(init=False, default=None)
    _reported: set[str] = field(init=False, factory=set)

    def identity(self) -> str:
        """Return the API's base URL, however it was written."""
        return normal_url(self.base_url)

    async def open(self, ctx: SourceContext) -> None:
        """Make the client; nothing is asked yet."""
        self._client = KapsoClient.connect(self.base_url, self.api_key, ctx)
        self._capabilities = Capabilities({}, ctx)

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        """Yield what may have something new, of a list page the older ones first."""
        position = position or {}
        self._capabilities.missing.update(position.get("missing", {}))
        self._discovery = discovery = Discovery(
            Scope(
                workflows=self.workflows,
                executions=self.executions,
                page_size=self.page_size,
                lookback=self.lookback,
            ),
            self._client,
            ctx,
            self._capabilities,
            Executions(self._client.base_url),
            position,
        )
        way = Feed(discovery, self.reconcile) if self.log_search else discovery
        async for each in way.partitions():
            yield each

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        """Yield what is new in an execution; see `levada_kapso.reading`."""
        terms = Terms(
            page_size=self.page_size, window=self.window, linger=self.linger, hold=self.hold
        )
        kapso = Kapso(
            client=self._client,
            ctx=ctx,
            capabilities=self._capabilities,
            executions=Executions(self._client.base_url),
            terms=terms,
            is_forgotten=self._discovery.is_forgotten if self._discovery else lambda _: False,
            reported=self._reported,
        )
        reading = Reading(kapso, partition, position)
        async for batch in reading.batches():
            yield batch
        if self._discovery and reading.is_over:
            self._discovery.note_over(partition.key)
