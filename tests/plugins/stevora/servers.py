"""What the tests of the source `stevora` share: desks, stages, and answers written by hand."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import define, field

from levada import Checkpoint, Partition, Secret
from levada.sandbox import (
    RecordedRequest,
    Response,
    Server,
    StevoraQuirks,
    StevoraServer,
    StevoraWorld,
    VirtualClock,
)
from levada_stevora.source import StevoraSource
from plugins.desk import Desk, at_desk
from plugins.follower import Follower, following

Answer = Callable[[RecordedRequest], Response]

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def opened(base_url: str, **options: Any) -> AbstractAsyncContextManager[Desk]:
    options.setdefault("api_key", Secret("sandbox"))
    return at_desk(StevoraSource(base_url=base_url, **options))


# ── answers written by hand ─────────────────────────────────────────────────────────────────────


def says(content: Any = None, *, status: int = 200, body: bytes | None = None) -> Answer:
    """Answer *content*, as it is when it is asked for, or *body*."""
    headers = {"Content-Type": "application/json"}
    return lambda _: Response(
        status, json.dumps(content).encode() if body is None else body, headers
    )


NOT_FOUND = says({"success": False, "error": {"message": "Not found"}}, status=404)


USED: dict[str, Callable[[int], int]] = {
    "7 at most": lambda asked: min(asked, 7),
    "always 7": lambda _: 7,
    "always 50": lambda _: 50,
    "5 more": lambda asked: asked + 5,
}
"""The rows that a server puts on a page, if so many are asked for."""


def listed(rows: list[Any], *, used: str | None = None, **meta: Any) -> Answer:
    """Serve pages of *rows*, as they are when they are asked for."""

    def answer(request: RecordedRequest) -> Response:
        page, size = int(request.query["page"]), int(request.query["pageSize"])
        shown = {"page": page, "pageSize": size, "total": len(rows), **meta}
        if used is not None:
            size = USED[used](size)
        data = rows[(page - 1) * size : page * size]
        return says({"success": True, "data": data, "meta": shown})(request)

    return answer


def row(number: int, **more: Any) -> dict[str, Any]:
    """Return an event as the list shows it, a second after the one with the number before."""
    time = f"2026-03-02T09:{number // 60:02}:{number % 60:02}.000Z"
    return {"id": f"e{number}", "eventType": "STEP_STARTED", "createdAt": time, **more}


def asked(server: Server) -> list[int]:
    """Return and forget the pages that were asked for."""
    pages = [int(request.query["page"]) for request in server.requests]
    server.requests.clear()
    return pages


def ids(events: Iterable[Any]) -> list[str]:
    return [event.id for event in events]


def keys(found: Iterable[Partition | Checkpoint]) -> list[str]:
    return [each.key for each in found if isinstance(each, Partition)]


# ── a workspace, and somebody who follows it ────────────────────────────────────────────────────


def short(request: RecordedRequest) -> str:
    """Say what a request asks for: ``runs 1``, ``WAITING 2``, ``events 1``, ``run``."""
    page = request.query.get("page")
    if page is None:
        return "run"
    if request.path.endswith("/events"):
        return f"events {page}"
    return f"{request.query.get('status', 'runs')} {page}"


@define
class Stage:
    """A Stevora of the sandbox, and the real intake and journal that follow it."""

    clock: VirtualClock
    world: StevoraWorld
    stevora: StevoraServer
    follower: Follower
    options: dict[str, Any] = field(factory=dict)

    async def look(self, after: timedelta = 10 * SECOND) -> list[str]:
        """Let time pass and make a pass; return what it asked for."""
        self.clock.advance(after)
        await self.follower.cycle()
        return [short(request) for request in self.follower.requests[-1]]

    async def looks(self, times: int, after: timedelta = 10 * SECOND) -> list[str]:
        return [each for _ in range(times) for each in await self.look(after)]

    def assert_complete(self) -> None:
        """Everything was kept, once, the events of a run in the order in which they happened."""
        kept = self.follower.ids()
        assert len(kept) == len(set(kept))
        assert set(kept) == set(ids(self.world.events))

    def kept(self, run_id: str) -> list[str]:
        return [event.id for event in self.follower.events() if event.partition == run_id]

    def stages(self) -> dict[str, str]:
        return dict(self.follower.journal.read("SELECT key, state FROM partition"))

    @property
    def position(self) -> Any:
        ((position,),) = self.follower.journal.read("SELECT position FROM source")
        return json.loads(position)


@asynccontextmanager
async def staged(
    folder: Path,
    world: StevoraWorld,
    *,
    quirks: StevoraQuirks | None = None,
    start: datetime | None = None,
    same_process: bool = False,
    **options: Any,
) -> AsyncIterator[Stage]:
    """Serve *world* from ten minutes after it, and follow it; each pass in a process of its own."""
    clock = VirtualClock(start or world.now + 10 * MINUTE)
    server = StevoraServer(world, now=clock, quirks=quirks or StevoraQuirks())
    async with server as stevora:
        stage: Stage

        def make() -> StevoraSource:
            key = Secret("sandbox")
            return StevoraSource(base_url=stevora.url, api_key=key, **stage.options)

        async with following(
            make, stevora, folder / "state", same_process=same_process
        ) as follower:
            stage = Stage(clock, world, stevora, follower, options)
            yield stage
