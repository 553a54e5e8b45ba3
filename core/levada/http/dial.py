"""Connects to a host that may have several addresses, some of which may not answer."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from levada.http.names import addresses_of

HEAD_START_S = 0.25
"""How long one address is tried alone before the next one joins the race (RFC 8305)."""

Inspect: TypeAlias = Callable[[Sequence[tuple[Any, ...]]], None]
"""Raises where it does not like one of the addresses, which are as `getaddrinfo` gives them."""


async def dial(host: str, port: int, inspect: Inspect | None = None) -> socket.socket:
    """Return a socket connected to the first address of *host* that answers.

    asyncio can race addresses too, but leaves the winner open when it is cancelled at the wrong
    moment. Here whoever does not get the socket does not get a leak either.

    *host* is resolved once: what *inspect* was shown is what is connected to.

    Raises:
        OSError: no address answered; the reason is that of the first. Or *host* has none, or
            *inspect* raised it.
    """
    addresses = await addresses_of(host, port)
    if inspect is not None:
        inspect(addresses)
    race = _Race()
    try:
        for address in addresses[:-1]:
            race.enter(address)
            if winner := await race.winner(HEAD_START_S):
                return winner
        race.enter(addresses[-1])
        if winner := await race.winner(None):
            return winner
        raise race.errors[0]
    finally:
        await race.end()


class _Race:
    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self._running: dict[asyncio.Task[None], socket.socket] = {}
        self._won: socket.socket | None = None

    def enter(self, address: tuple[Any, ...]) -> None:
        family, kind, protocol, _, where = address
        runner = socket.socket(family, kind, protocol)
        runner.setblocking(False)
        connecting = asyncio.get_running_loop().sock_connect(runner, where)
        self._running[asyncio.ensure_future(connecting)] = runner

    async def winner(self, wait_s: float | None) -> socket.socket | None:
        """Return the first that connects; None when time is up or all have failed."""
        while self._running:
            done, _ = await asyncio.wait(
                self._running, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                return None
            for task in done:
                runner = self._running.pop(task)
                error = task.exception()
                if error is None and self._won is None:
                    self._won = runner
                    continue
                runner.close()
                if error is not None:
                    self.errors.append(error)
            if self._won is not None:
                return self._won
        return None

    async def end(self) -> None:
        """Close every socket that did not win; if cancelled meanwhile, the one that did as well."""
        for task in self._running:
            task.cancel()
        try:
            if self._running:
                await asyncio.wait(self._running)
        except BaseException:
            if self._won is not None:
                self._won.close()
            raise
        finally:
            for runner in self._running.values():
                runner.close()
