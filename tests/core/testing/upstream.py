"""A small vendor, a source and sinks that keep the contract, and a way to try a contract on them."""

import asyncio
import importlib
import json
import sys
import warnings
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from unittest import SkipTest

import pytest
from attrs import define, field

from levada import (
    ApiKey,
    Batch,
    Checkpoint,
    Delivery,
    Event,
    HttpClient,
    Json,
    Partition,
    Secret,
    Sink,
    SinkContext,
    Source,
    SourceContext,
    hookimpl,
    option,
)
from levada.sandbox import RecordedRequest, Response, Server
from levada.sandbox.http import json_response
from levada.testing.connector import ConnectorContract

PAGE = 3
START = datetime(2026, 1, 2, tzinfo=UTC)


@define(eq=False, kw_only=True)
class Vendor(Server):
    """Runs and how long they are at ``/runs``; their events, three at a time, below."""

    runs: dict[str, int] = field(factory=lambda: {"a": 5, "b": 4})

    async def respond(self, request: RecordedRequest) -> Response:
        *_, key = request.segments
        if key == "runs":
            return json_response(200, self.runs)
        after = int(request.query["after"])
        numbers = range(after, min(after + PAGE, self.runs[key]))
        return json_response(200, [{"id": f"{key}{number}", "n": number} for number in numbers])

    def grow(self) -> None:
        """Add an event to the first run, and another run."""
        self.runs["a"] += 1
        self.runs[f"c{len(self.runs)}"] = 2

    @property
    def names(self) -> list[tuple[str, str]]:
        return [(key, f"{key}{n}") for key, length in self.runs.items() for n in range(length)]


@define
class FineSource(Source):
    """Reads a run's events a page at a time; a position counts them."""

    name: ClassVar[str] = "fine"

    url: str = option(help="Where the runs are.")
    key: Secret = option(help="A key to them.", env="FINE_KEY")

    def identity(self) -> str:
        return self.url

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        for key, length in (await self.ask(ctx, "/runs")).items():
            yield self.partition(key, length)
        yield Checkpoint({"listed": True})

    def partition(self, key: str, length: int) -> Partition:
        return Partition(key, version=length)

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        after = position or 0
        while page := await self.page(partition, after, ctx):
            after += len(page)
            yield self.batch([self.event(partition, each) for each in page], after)
            if len(page) < PAGE:
                return

    async def page(self, partition: Partition, after: int, ctx: SourceContext) -> list[Json]:
        page: list[Json] = await self.ask(ctx, f"/runs/{partition.key}", after=after)
        return page

    def batch(self, events: list[Event], after: int) -> Batch:
        return Batch(events, position=after)

    def event(self, partition: Partition, item: dict[str, Json]) -> Event:
        return Event(
            item["id"],
            type="happened",
            time=START + timedelta(seconds=item["n"]),
            partition=partition.key,
            raw=json.dumps(item).encode(),
        )

    def client(self, ctx: SourceContext) -> HttpClient:
        return ctx.http(self.url, auth=ApiKey("X-API-Key", self.key))

    async def ask(self, ctx: SourceContext, path: str, **query: Any) -> Any:
        return json.loads((await self.client(ctx).get(path, query)).body)


@define
class FineSink(Sink):
    """Appends lines to a file, each exactly once; a receipt is the file's length."""

    name: ClassVar[str] = "fine"
    guarantee: ClassVar[str] = "exactly once"

    path: Path = option(help="The file.")

    def identity(self) -> str:
        return str(self.path)

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        self.truncate(receipt or 0)
        return None

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        await asyncio.sleep(0)
        self.append(delivery.lines)
        return self.path.stat().st_size

    def truncate(self, length: int) -> None:
        with self.path.open("ab") as file:
            file.truncate(length)

    def append(self, lines: Iterable[bytes]) -> None:
        with self.path.open("ab") as file:
            file.writelines(line + b"\n" for line in lines)


@define
class LaneSink(FineSink):
    """Appends lines to a file, several deliveries at a time, at least once."""

    guarantee: ClassVar[str] = "at least once"

    @property
    def lanes(self) -> int:
        return 3

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        return None

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        await asyncio.sleep(0)
        self.append(delivery.lines)


def written(path: Path) -> list[str]:
    """Return the ids in a file of lines."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [json.loads(line)["id"] for line in lines]


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *classes: type[Source | Sink]) -> None:
    """Offer connectors under the name ``fine``, as an installed package does."""
    plugin = ModuleType("levada_fine")
    plugin.event_sources = hookimpl(lambda: _those(classes, Source), specname="event_sources")  # type: ignore[attr-defined]  # as a module has functions
    plugin.event_sinks = hookimpl(lambda: _those(classes, Sink), specname="event_sinks")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    info = folder / "site" / "levada_fine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: levada-fine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[levada]\nfine = levada_fine\n")
    monkeypatch.syspath_prepend(info.parent)
    importlib.invalidate_caches()


def _those(classes: Iterable[type], base: type) -> list[type]:
    return [cls for cls in classes if issubclass(cls, base) and cls.__dict__.get("name", "fine")]


def failures(contracts: Iterable[ConnectorContract[Any]], names: Iterable[str]) -> dict[str, str]:
    """Run each check of *names* on a contract of its own; return what failed, and how."""
    found = {}
    for name, contract in zip(names, contracts, strict=False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # what it says, a check says
            try:
                getattr(contract, name)()
            except SkipTest:
                continue
            except Exception as error:  # noqa: BLE001  # a broken connector raises what it likes
                found[name] = f"{type(error).__name__}: {error}"
    return found


def checks(contract: type[object]) -> list[str]:
    """Return the names of all checks of a contract."""
    return [name for name in dir(contract) if name.startswith("test_")]
