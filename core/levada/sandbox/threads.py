"""Run a sandbox or a receiver in a thread of its own, for callers without an event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from threading import Thread
from typing import TypeVar

__all__ = ["run_in_thread"]

T = TypeVar("T")


@contextmanager
def run_in_thread(service: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter `service` in a daemon thread with an event loop of its own; leave it at the end.

    Errors of its start and of its end are raised here, in the caller's thread.
    """
    started: Future[tuple[T, Callable[[], object]]] = Future()
    ended: Future[None] = Future()
    thread = Thread(target=_run, args=(_hold(service, started), started, ended), daemon=True)
    thread.start()
    running, stop = started.result()
    try:
        yield running
    finally:
        stop()
        ended.result()
        thread.join()


async def _hold(
    service: AbstractAsyncContextManager[T], started: Future[tuple[T, Callable[[], object]]]
) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    async with service as running:
        started.set_result((running, partial(loop.call_soon_threadsafe, stopping.set)))
        await stopping.wait()


def _run(
    holding: Coroutine[None, None, None], started: Future[object], ended: Future[None]
) -> None:
    try:
        asyncio.run(holding)
    except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits
        (ended if started.done() else started).set_exception(error)
    else:
        ended.set_result(None)
