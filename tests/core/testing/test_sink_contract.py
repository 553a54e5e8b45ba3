"""Every check of a sink passes a good one, and is failed by one that is bad in that respect."""

import asyncio
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define, evolve, field

from core.testing.upstream import FineSink, LaneSink, checks, failures, install, written
from levada import Delivery, Json, Reject, Retry, Secret, SinkContext, TooLarge, option
from levada.testing import SinkContract

CHECKS = checks(SinkContract)
LARGE = 100_000


class Contract(SinkContract):
    def __init__(self, cls: type[FineSink], folder: Path) -> None:
        self.cls = cls
        self.path = folder / "events.jsonl"
        self.timeout_s = 10.0  # type: ignore[misc]  # of this object alone
        self.cancel_s = 0.3  # type: ignore[misc]

    def make(self) -> FineSink:
        return self.cls(path=self.path)

    def written(self) -> list[str]:
        return written(self.path)


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs all checks on a class and returns the messages of those failed."""

    def try_(cls: type[FineSink]) -> dict[str, str]:
        install(tmp_path, monkeypatch, cls)
        folders = [tmp_path / name for name in CHECKS]
        for folder in folders:
            folder.mkdir()
        return failures([Contract(cls, folder) for folder in folders], CHECKS)

    return try_


# ── one sink for each thing that can be wrong ───────────────────────────────────────────────────


@define
class Nameless(FineSink):
    """Has a name that no entry point has."""

    name: ClassVar[str] = "finer"


@define
class WithoutHelp(FineSink):
    """Has an option that nobody explains."""

    depth: int = field(default=3, kw_only=True)


@define
class Restless(FineSink):
    """Is somebody else on every run."""

    def identity(self) -> str:
        return str(uuid.uuid4())


@define
class Indiscreet(FineSink):
    """Has the key in its identity."""

    key: Secret = option(default=Secret("fine-key-8121"), help="A key.")

    def identity(self) -> str:
        return f"{self.path}?key={self.key.reveal()}"


@define
class ClosedOnce(FineSink):
    """Cannot be closed unless it is open."""

    _handles: list[int] = field(factory=list, init=False)

    async def open(self, ctx: SinkContext) -> None:
        self._handles.append(1)

    async def close(self) -> None:
        self._handles.pop()


@define
class Limited(FineSink):
    """Writes the first fifty events of a delivery."""

    def append(self, lines: Iterable[bytes]) -> None:
        FineSink.append(self, list(lines)[:50])


@define
class Backwards(FineSink):
    """Writes a delivery from its end."""

    def append(self, lines: Iterable[bytes]) -> None:
        FineSink.append(self, list(lines)[::-1])


@define
class Skipping(FineSink):
    """Leaves out what is large, without a word."""

    def append(self, lines: Iterable[bytes]) -> None:
        FineSink.append(self, [line for line in lines if len(line) < LARGE])


@define
class Buffering(FineSink):
    """Writes when it is closed."""

    _lines: list[bytes] = field(factory=list, init=False)

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        self._lines += delivery.lines
        size = self.path.stat().st_size
        return size + sum(len(line) + 1 for line in self._lines)

    async def close(self) -> None:
        FineSink.append(self, self._lines)
        self._lines.clear()


@define
class Sharing(LaneSink):
    """Keeps in one place what two lanes write."""

    _lines: list[bytes] = field(factory=list, init=False)

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        self._lines = list(delivery.lines)
        await asyncio.sleep(0)
        self.append(self._lines)


@define
class Counting(LaneSink):
    """Returns receipts, with several lanes."""

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        await LaneSink.write(self, delivery, ctx)
        return delivery.seq


@define
class Stamping(FineSink):
    """Adds to the records that others read as well."""

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        for event in delivery.events:
            event.data["written_by"] = ctx.name
        return await FineSink.write(self, delivery, ctx)


@define
class Tuples(FineSink):
    """Returns a tuple, which comes back as a list."""

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        return await FineSink.resume(self, receipt and receipt[0], ctx)

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        return (await FineSink.write(self, delivery, ctx), "bytes")


@define
class Sized(LaneSink):
    """Says how many bytes it holds where a sequence number is asked for."""

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        return -self.path.stat().st_size if self.path.exists() else None


@define
class Destructive(FineSink):
    """Removes a little more whenever it is resumed again."""

    _resumed: int = field(default=0, init=False)

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        self._resumed += 1
        return await FineSink.resume(self, receipt if self._resumed == 1 else None, ctx)


@define
class Boasting(LaneSink):
    """Promises more than it keeps."""

    guarantee: ClassVar[str] = "exactly once"


@define
class Leaving(LaneSink):
    """Leaves a task behind when it is cancelled."""

    _tasks: list["asyncio.Task[None]"] = field(factory=list, init=False)

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        self.append(delivery.lines)
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self._tasks.append(asyncio.create_task(asyncio.sleep(60)))
            raise


@define
class Stubborn(LaneSink):
    """Does not let itself be cancelled."""

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        self.append(delivery.lines)
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            await asyncio.sleep(0.6)


@define
class Untidy(LaneSink):
    """Opens a file for each write, and closes it if all goes well."""

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        file = self.path.open("ab")
        await asyncio.sleep(0)
        file.writelines(line + b"\n" for line in delivery.lines)
        file.close()


BROKEN = {
    Nameless: "test_is_offered_under_its_name",
    WithoutHelp: "test_says_what_it_is_for",
    Restless: "test_keeps_its_identity",
    Indiscreet: "test_shows_no_secret",
    ClosedOnce: "test_can_be_closed_twice",
    Limited: "test_writes_deliveries_of_any_size",
    Backwards: "test_writes_a_partition_in_order",
    Skipping: "test_writes_whatever_an_event_holds",
    Buffering: "test_has_written_when_write_returns",
    Sharing: "test_keeps_its_lanes_apart",
    Counting: "test_keeps_its_lanes_apart",
    Stamping: "test_leaves_a_delivery_as_it_was",
    Tuples: "test_has_receipts_of_json",
    Sized: "test_has_receipts_of_json",
    Destructive: "test_resumes_as_often_as_asked",
    Leaving: "test_keeps_its_guarantee_when_cancelled",
    Stubborn: "test_keeps_its_guarantee_when_cancelled",
    Untidy: "test_keeps_its_guarantee_when_cancelled",
}
BROKEN_IN_SEVERAL_WAYS: dict[type[FineSink], list[str]] = {
    Boasting: [
        "test_keeps_its_guarantee_when_cancelled",
        "test_keeps_its_guarantee_when_killed",
    ],
}
"""A cancelled write may have been a whole one, so both repeat one."""


@pytest.mark.parametrize("cls", [FineSink, LaneSink])
def test_a_good_sink_passes(cls: type[FineSink], tried: Any) -> None:
    assert tried(cls) == {}


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_sink_fails_one_check(cls: type[FineSink], tried: Any) -> None:
    found = tried(cls)

    assert list(found) == [BROKEN[cls]], found
    assert found[BROKEN[cls]].startswith("AssertionError: ")


@pytest.mark.parametrize("cls", BROKEN_IN_SEVERAL_WAYS, ids=lambda cls: cls.__name__)
def test_a_broken_sink_fails_all_checks_about_it(cls: type[FineSink], tried: Any) -> None:
    assert list(tried(cls)) == BROKEN_IN_SEVERAL_WAYS[cls]


def test_each_check_can_fail() -> None:
    failing = {
        *BROKEN.values(),
        *(name for names in BROKEN_IN_SEVERAL_WAYS.values() for name in names),
    }

    assert sorted(failing) == CHECKS


# ── sinks that may do what they do ──────────────────────────────────────────────────────────────


@define
class Refusing(FineSink):
    """Rejects what is large, and writes the rest."""

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        large = {(e.partition, e.id): "too large" for e in delivery.events if len(e.raw) > LARGE}
        small = [each for each in delivery.events if len(each.raw) <= LARGE]
        receipt = self.path.stat().st_size
        if small:
            receipt = await FineSink.write(self, evolve(delivery, events=small), ctx)
        if large:
            raise Reject(large, receipt=receipt)
        return receipt


@define
class Narrow(FineSink):
    """Takes three events at a time, none of them large."""

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        if len(delivery.events) > 3 or len(delivery.lines[0]) > LARGE:
            raise TooLarge("at most three")
        return await FineSink.write(self, delivery, ctx)


@define
class Momentary(FineSink):
    """Fails at every first attempt."""

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:
        if delivery.attempt == 1:
            raise Retry("not yet")
        return await FineSink.write(self, delivery, ctx)


@define
class Knowing(LaneSink):
    """Knows by itself how far it is."""

    guarantee: ClassVar[str] = "exactly once"

    @property
    def lanes(self) -> int:
        return 1

    async def resume(self, receipt: Json, ctx: SinkContext) -> int | None:
        ids = written(self.path)
        return int(ids[-1].removeprefix("evt-")) if ids else None


@pytest.mark.parametrize("cls", [Refusing, Narrow, Momentary, Knowing])
def test_a_sink_may_use_all_that_the_contract_offers(cls: type[FineSink], tried: Any) -> None:
    assert tried(cls) == {}
