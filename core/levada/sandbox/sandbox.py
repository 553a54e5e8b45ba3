"""Local vendors: a Kapso and a Stevora on loopback, with worlds that may grow meanwhile."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from datetime import datetime, timedelta
from typing import Any, Self

from attrs import define, field

from levada.sandbox.kapso.api import KapsoServer
from levada.sandbox.kapso.quirks import KapsoQuirks
from levada.sandbox.kapso.world import KapsoWorld
from levada.sandbox.limits import RateLimit
from levada.sandbox.server import utc_now
from levada.sandbox.stevora.api import StevoraServer
from levada.sandbox.stevora.quirks import StevoraQuirks
from levada.sandbox.stevora.world import StevoraWorld
from levada.sandbox.threads import run_in_thread

__all__ = ["Sandbox"]


@define(eq=False)
class Sandbox:
    """Run the vendors in the current event loop while inside `async with`.

    A vendor whose world is None stays away; by default both have a small sample. The worlds may
    be changed at any time and from any thread. With `grow_every` both grow by themselves.
    `kapso_rate_limit` counts requests a minute; None switches it off. `now` is the clock of both
    servers, and of what is planned in their worlds.
    """

    kapso_world: KapsoWorld | None = field(alias="kapso", factory=KapsoWorld.sample)
    stevora_world: StevoraWorld | None = field(alias="stevora", factory=StevoraWorld.sample)
    kapso_key: str = field(default="sandbox", kw_only=True, repr=False)
    stevora_key: str = field(default="sandbox", kw_only=True, repr=False)
    grow_every: timedelta | None = field(default=None, kw_only=True)
    host: str = field(default="127.0.0.1", kw_only=True)
    kapso_port: int = field(default=0, kw_only=True)
    stevora_port: int = field(default=0, kw_only=True)
    kapso_rate_limit: int | None = field(default=None, kw_only=True)
    kapso_quirks: KapsoQuirks = field(factory=KapsoQuirks, kw_only=True, repr=False)
    stevora_quirks: StevoraQuirks = field(factory=StevoraQuirks, kw_only=True, repr=False)
    now: Callable[[], datetime] = field(default=utc_now, kw_only=True, repr=False)
    _kapso: KapsoServer | None = field(init=False, repr=False)
    _stevora: StevoraServer | None = field(init=False, repr=False)
    _running: AsyncExitStack = field(init=False, factory=AsyncExitStack, repr=False)

    def __attrs_post_init__(self) -> None:
        self._kapso = self._kapso_server(self.kapso_world) if self.kapso_world else None
        self._stevora = self._stevora_server(self.stevora_world) if self.stevora_world else None

    @classmethod
    def in_thread(cls, **options: Any) -> AbstractContextManager["Sandbox"]:
        """Run a sandbox with the options of the class in a thread, while inside `with`."""
        return run_in_thread(cls(**options))

    @property
    def kapso(self) -> KapsoServer:
        """The Kapso server: `base_url`, `api_key`, `requests`, `world`.

        Raises:
            RuntimeError: The sandbox was made without a Kapso world.
        """
        if self._kapso is None:
            raise RuntimeError("this sandbox has no Kapso")
        return self._kapso

    @property
    def stevora(self) -> StevoraServer:
        """The Stevora server: `base_url`, `api_key`, `requests`, `world`.

        Raises:
            RuntimeError: The sandbox was made without a Stevora world.
        """
        if self._stevora is None:
            raise RuntimeError("this sandbox has no Stevora")
        return self._stevora

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for server in (self._kapso, self._stevora):
                if server is not None:
                    await stack.enter_async_context(server)
            if self.grow_every is not None:
                growing = asyncio.create_task(self._grow(self.grow_every.total_seconds()))
                stack.push_async_callback(_cancel, growing)
            self._running = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    def _kapso_server(self, world: KapsoWorld) -> KapsoServer:
        limit = self.kapso_rate_limit
        return KapsoServer(
            world,
            api_key=self.kapso_key,
            rate_limit=None if limit is None else RateLimit(limit),
            quirks=self.kapso_quirks,
            now=self.now,
            host=self.host,
            port=self.kapso_port,
        )

    def _stevora_server(self, world: StevoraWorld) -> StevoraServer:
        return StevoraServer(
            world,
            api_key=self.stevora_key,
            quirks=self.stevora_quirks,
            now=self.now,
            host=self.host,
            port=self.stevora_port,
        )

    async def _grow(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            for world in (self.kapso_world, self.stevora_world):
                if world is not None:
                    world.catch_up(self.now())
                    world.grow()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
