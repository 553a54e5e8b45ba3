"""Finds the addresses of a name, without holding up the end of the program."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any


async def addresses_of(host: str, port: int) -> Sequence[tuple[Any, ...]]:
    """Return the addresses of *host*, as `socket.getaddrinfo` gives them.

    asyncio's own way takes a thread out of a pool whose threads are waited for at the end, and a
    silent name server may hold one for minutes. Nobody waits for these.

    Raises:
        OSError: it has none, or nobody knows; mostly `socket.gaierror`.
        UnicodeError: this cannot be a name.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[tuple[Any, ...]]] = loop.create_future()

    def tell(how: Callable[[Any], None], what: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: None if answer.done() else how(what))

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001  # carried over to where it is awaited
            tell(answer.set_exception, error)
        else:
            tell(answer.set_result, found)

    Thread(target=ask, name="levada-names", daemon=True).start()
    return await answer
