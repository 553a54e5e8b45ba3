"""Follows a vendor of the sandbox through the real intake and journal, a cycle at a time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from attrs import define, evolve, field

from levada import Event, Source
from levada.host import Host
from levada.intake import Intake
from levada.journal import Journal
from levada.sandbox import RecordedRequest, Server
from levada.setup import Settings, SourceSetup


@define
class Follower:
    """A source and its journal. Every cycle is a process of its own unless *same_process*."""

    make: Callable[[], Source]
    server: Server
    journal: Journal
    same_process: bool = field(default=True, kw_only=True)
    requests: list[list[RecordedRequest]] = field(factory=list, init=False)
    """Those of each cycle."""
    reports: dict[str, int] = field(factory=dict, init=False)
    got: list[str] = field(factory=list, init=False)
    """The ids of all events, for when the journal is closed."""
    _intake: Intake | None = field(default=None, init=False)
    _host: Host | None = field(default=None, init=False)

    async def cycle(self) -> list[str]:
        """Make one pass; return the requests it took, as paths and queries."""
        intake = await self._running()
        before = len(self.server.requests)
        try:
            await intake.run()
        finally:
            made = self.server.requests[before:]
            self.requests.append(made)
            if not self.same_process:
                await self.close()
        return [each.path.removeprefix("/platform/v1") for each in made]

    async def hint(self, key: str) -> None:
        (await self._running()).hint(key)

    def events(self) -> list[Event]:
        return self.journal.events_between(1, self.journal.last_seq)

    def ids(self) -> list[str]:
        return [event.id for event in self.events()]

    async def close(self) -> None:
        if self._intake is not None and self._host is not None:
            await self._intake.close()
            await self._host.close()
            for what, times in self._host.diagnostics.counts.items():
                self.reports[what] = self.reports.get(what, 0) + times
        self._intake = self._host = None

    async def _running(self) -> Intake:
        if self._intake is None:
            setup = SourceSetup.of(self.make())
            state = await self.journal.source(setup, accept_identity_change=False)
            self._host = Host(self.journal.settings)
            self._intake = Intake(setup, state, self._host)
        return self._intake


@asynccontextmanager
async def following(
    make: Callable[[], Source], server: Server, folder: Path, *, same_process: bool = True
) -> AsyncIterator[Follower]:
    """Open a journal in *folder* for as long as the body runs."""
    settings = evolve(Settings(), state=folder, give_up_after=timedelta(0))
    async with Journal(settings) as journal:
        follower = Follower(make, server, journal, same_process=same_process)
        try:
            yield follower
        finally:
            await follower.close()
