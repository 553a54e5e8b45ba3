"""Every check of a source passes a good one, and is failed by one that is bad in that respect."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define, evolve, field

from core.testing.upstream import FineSource, Vendor, checks, failures, install
from levada import Batch, Checkpoint, Event, Json, Partition, Retry, Secret, SourceContext, option
from levada.sandbox import run_in_thread
from levada.testing import SourceContract

CHECKS = checks(SourceContract)
SECRET = "fine-key-8121"


class Contract(SourceContract):
    idle_requests = 1

    def __init__(self, cls: type[FineSource], vendor: Vendor) -> None:
        self.cls = cls
        self.vendor = vendor
        self.timeout_s = 5.0  # type: ignore[misc]  # of this object alone
        self.cancel_s = 0.3  # type: ignore[misc]

    def make(self) -> FineSource:
        return self.cls(url=self.vendor.url, key=Secret(SECRET))

    def expected(self) -> list[tuple[str, str]]:
        return self.vendor.names

    def grow(self) -> None:
        self.vendor.grow()


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs all checks on a class and returns the messages of those failed."""

    def try_(cls: type[FineSource]) -> dict[str, str]:
        install(tmp_path, monkeypatch, cls)
        found: dict[str, str] = {}
        for name in CHECKS:
            with run_in_thread(Vendor()) as vendor:
                found |= failures([Contract(cls, vendor)], [name])
        return found

    return try_


# ── one source for each thing that can be wrong ─────────────────────────────────────────────────


@define
class Nameless(FineSource):
    """Has a name that no entry point has."""

    name: ClassVar[str] = "finer"


@define
class WithoutHelp(FineSource):
    """Has an option that nobody explains."""

    depth: int = field(default=3, kw_only=True)


@define
class WithoutDocstring(FineSource):
    pass


WithoutDocstring.__doc__ = None


@define
class Restless(FineSource):
    """Is somebody else on every run."""

    def identity(self) -> str:
        return str(uuid.uuid4())


@define
class Indiscreet(FineSource):
    """Shows the key once it is open."""

    _headers: dict[str, str] = field(factory=dict, init=False)

    async def open(self, ctx: SourceContext) -> None:
        self._headers["X-API-Key"] = self.key.reveal()


@define
class Chatty(FineSource):
    """Logs the key."""

    async def open(self, ctx: SourceContext) -> None:
        logging.getLogger("fine").debug("using %s", self.key.reveal())


@define
class Careless(FineSource):
    """Takes a secret as text."""

    proxy_password: str = option(default="", help="For the proxy.")


@define
class ClosedOnce(FineSource):
    """Cannot be closed again."""

    _open: list[str] = field(factory=lambda: ["connection"], init=False)

    async def close(self) -> None:
        self._open.pop()


@define
class Forgetful(FineSource):
    """Leaves the newest event out."""

    def batch(self, events: list[Event], after: int) -> Batch:
        return Batch([each for each in events if each.id != "a4"], position=after)


@define
class Inventive(FineSource):
    """Makes an event up."""

    def batch(self, events: list[Event], after: int) -> Batch:
        more = [evolve(each, id="begun") for each in events if each.id == "a0"]
        return Batch([*more, *events], position=after)


@define
class Overlapping(FineSource):
    """Reads the last event of a page again with the next."""

    async def page(self, partition: Partition, after: int, ctx: SourceContext) -> list[Json]:
        page = await FineSource.page(self, partition, after, ctx)
        before = await FineSource.page(self, partition, after - 1, ctx) if after == 3 else []
        return before[:1] + page if len(page) < 3 else page

    def batch(self, events: list[Event], after: int) -> Batch:
        return Batch(events, position=int(events[-1].data["n"]) + 1)


@define
class Backwards(FineSource):
    """Yields a page as the vendor might show it, newest first."""

    def batch(self, events: list[Event], after: int) -> Batch:
        return Batch(events[::-1], position=after)


@define
class Mixing(FineSource):
    """Puts all events in one partition."""

    def event(self, partition: Partition, item: dict[str, Json]) -> Event:
        return FineSource.event(self, Partition("main"), item)


@define
class Printing(FineSource):
    """Prints a dict where JSON belongs."""

    def event(self, partition: Partition, item: dict[str, Json]) -> Event:
        return evolve(FineSource.event(self, partition, item), raw=str(item).encode())


@define
class Indented(FineSource):
    """Keeps the line breaks of a record."""

    def event(self, partition: Partition, item: dict[str, Json]) -> Event:
        return evolve(FineSource.event(self, partition, item), raw=b'{\n"n": 1}')


@define
class Undefined(FineSource):
    """Keeps a number that is none."""

    def event(self, partition: Partition, item: dict[str, Json]) -> Event:
        return evolve(FineSource.event(self, partition, item), raw=b'{"n": NaN}')


@define
class Local(FineSource):
    """Dates its events in a zone of its own."""

    def event(self, partition: Partition, item: dict[str, Json]) -> Event:
        event = FineSource.event(self, partition, item)
        return evolve(event, time=event.time.astimezone(timezone(timedelta(hours=2))))


@define
class Tuples(FineSource):
    """Has positions that come back from JSON as lists."""

    def batch(self, events: list[Event], after: int) -> Batch:
        return Batch(events, position=(after,))

    async def page(self, partition: Partition, after: Any, ctx: SourceContext) -> list[Json]:
        after = after[0] if isinstance(after, list | tuple) else after
        return await FineSource.page(self, partition, after, ctx)

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        async for batch in FineSource.read(self, partition, position and position[0], ctx):
            yield batch


@define
class Ahead(FineSource):
    """Fetches the next page before it yields one, and takes the position from there."""

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        batches = [batch async for batch in FineSource.read(self, partition, position, ctx)]
        for batch in batches:
            yield Batch(batch.events, position=batches[-1].position)


@define
class Heartbeat(FineSource):
    """Makes an event of every pass after the first."""

    async def partitions(
        self, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Partition | Checkpoint]:
        if position is not None:
            yield Partition("heart")
        async for found in FineSource.partitions(self, position, ctx):
            yield found

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        if partition.key == "heart":
            yield Batch([self.event(partition, {"id": str(uuid.uuid4()), "n": 0})])
            return
        async for batch in FineSource.read(self, partition, position, ctx):
            yield batch


@define
class Nervous(FineSource):
    """Shows another version every time."""

    def partition(self, key: str, length: int) -> Partition:
        return Partition(key, version=str(uuid.uuid4()))


@define
class Busy(FineSource):
    """Has no versions, so everything is read on every pass."""

    def partition(self, key: str, length: int) -> Partition:
        return Partition(key)


@define
class Blind(FineSource):
    """Shows the same version for ever."""

    def partition(self, key: str, length: int) -> Partition:
        return Partition(key, version="1")


@define
class Hasty(FineSource):
    """Ends at what the list shows after the last page, rather than at what it has read."""

    async def read(
        self, partition: Partition, position: Json, ctx: SourceContext
    ) -> AsyncIterator[Batch]:
        async for batch in FineSource.read(self, partition, position, ctx):
            yield batch
        runs = await self.ask(ctx, "/runs")
        yield Batch((), position=runs[partition.key])


@define
class Hushing(FineSource):
    """Takes a failure for the end of the list."""

    async def page(self, partition: Partition, after: int, ctx: SourceContext) -> list[Json]:
        try:
            return await FineSource.page(self, partition, after, ctx)
        except Retry:
            return []


@define
class Leaving(FineSource):
    """Leaves a task behind."""

    _tasks: list["asyncio.Task[None]"] = field(factory=list, init=False)

    async def open(self, ctx: SourceContext) -> None:
        self._tasks.append(asyncio.create_task(asyncio.sleep(60)))


@define
class Stubborn(FineSource):
    """Does not let itself be cancelled."""

    async def page(self, partition: Partition, after: int, ctx: SourceContext) -> list[Json]:
        try:
            return await FineSource.page(self, partition, after, ctx)
        except asyncio.CancelledError:
            await asyncio.sleep(0.6)
            return []


@define
class Untidy(FineSource):
    """Opens a file for each page, and closes it if all goes well."""

    async def page(self, partition: Partition, after: int, ctx: SourceContext) -> list[Json]:
        file = Path(__file__).open("rb")  # noqa: SIM115, ASYNC230
        page = await FineSource.page(self, partition, after, ctx)
        file.close()
        return page


BROKEN = {
    Nameless: "test_is_offered_under_its_name",
    WithoutHelp: "test_says_what_it_is_for",
    WithoutDocstring: "test_says_what_it_is_for",
    Restless: "test_keeps_its_identity",
    Indiscreet: "test_shows_no_secret",
    Chatty: "test_shows_no_secret",
    Careless: "test_shows_no_secret",
    ClosedOnce: "test_can_be_closed_twice",
    Forgetful: "test_yields_every_event",
    Inventive: "test_yields_every_event",
    Overlapping: "test_yields_each_event_once",
    Backwards: "test_yields_the_oldest_first",
    Mixing: "test_yields_events_of_the_partition_it_was_asked_for",
    Printing: "test_keeps_records_as_one_line_of_json",
    Indented: "test_keeps_records_as_one_line_of_json",
    Undefined: "test_keeps_records_as_one_line_of_json",
    Local: "test_dates_events_in_utc",
    Tuples: "test_keeps_its_place_in_json",
    Ahead: "test_goes_on_from_behind_every_batch",
    Nervous: "test_leaves_alone_what_has_not_changed",
    Busy: "test_leaves_alone_what_has_not_changed",
    Hasty: "test_misses_nothing_that_comes_while_it_reads",
    Hushing: "test_loses_nothing_when_a_request_fails",
    Leaving: "test_stops_when_cancelled",
    Stubborn: "test_stops_when_cancelled",
    Untidy: "test_stops_when_cancelled",
}

BROKEN_IN_SEVERAL_WAYS = {
    Heartbeat: [
        "test_finds_nothing_new_when_nothing_is",
        "test_finds_what_is_new",
        "test_loses_nothing_when_a_request_fails",
        "test_misses_nothing_that_comes_while_it_reads",
    ],
    Blind: ["test_finds_what_is_new", "test_misses_nothing_that_comes_while_it_reads"],
}
"""What a second run does is seen by every check that makes one; the first is sure to."""


def test_a_good_source_passes(tried: Any) -> None:
    assert tried(FineSource) == {}


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_source_fails_one_check(cls: type[FineSource], tried: Any) -> None:
    found = tried(cls)

    assert list(found) == [BROKEN[cls]], found
    assert found[BROKEN[cls]].startswith("AssertionError: ")


@pytest.mark.parametrize("cls", BROKEN_IN_SEVERAL_WAYS, ids=lambda cls: cls.__name__)
def test_a_broken_source_fails_all_checks_about_it(cls: type[FineSource], tried: Any) -> None:
    sure, *others = BROKEN_IN_SEVERAL_WAYS[cls]

    found = set(tried(cls))

    assert sure in found
    assert found <= {sure, *others}


def test_each_check_can_fail() -> None:
    failing = {
        *BROKEN.values(),
        *(name for names in BROKEN_IN_SEVERAL_WAYS.values() for name in names),
    }

    assert sorted(failing) == CHECKS
