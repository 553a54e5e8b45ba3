"""The one connection that writes to the journal: group commit."""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from attrs import frozen

from levada.errors import StateError

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]

GROUP_S = 0.003  # how long the loop is kept from its other work for the writes of one commit


@frozen
class _Order:
    """A write that waits for its commit, and who waits for it."""

    write: Write[Any]
    done: "asyncio.Future[Any]"


class Writer:
    """Runs writes in the order they come, all that are waiting in one transaction.

    *urgent* ones go before all others: sinks make them, few and short, and what reads upstream
    makes many. A write is a function of the connection. Either all writes of a group are durable, or none is
    and every one of them fails with the same error.

    The writes run in the loop's thread: SQLite lets go of the interpreter's lock for every row,
    and a second thread would wait for it as often. Only the commit, which waits for the disk,
    runs in a thread of its own.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._urgent: deque[_Order] = deque()
        self._orders: deque[_Order] = deque()
        self._work: asyncio.Task[None] | None = None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="levada-journal")

    def submit(self, write: Write[T], *, urgent: bool = False) -> "asyncio.Future[T]":
        """Queue *write*; the future gives what it returned once that is durable."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._orders).append(_Order(write, done))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._commit_all())
        return done

    async def close(self) -> None:
        """Finish what is queued."""
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)
        self._disk.shutdown()

    async def _commit_all(self) -> None:
        while self._urgent or self._orders:
            group: list[_Order] = []
            try:
                results = self._run(group)
                await asyncio.get_running_loop().run_in_executor(self._disk, self._commit)
            except Exception as error:  # noqa: BLE001  # it belongs to those who wait
                self._fail(group, _translated(error))
            else:
                for order, result in zip(group, results, strict=True):
                    if not order.done.done():
                        order.done.set_result(result)

    def _run(self, group: list[_Order]) -> list[Any]:
        """Run what is queued, for a while; *group* tells what was run even if it raises."""
        self._connection.execute("BEGIN IMMEDIATE")
        results: list[Any] = []
        until = time.monotonic() + GROUP_S
        while (orders := self._urgent or self._orders) and time.monotonic() < until:
            group.append(orders.popleft())
            results.append(group[-1].write(self._connection))
        return results

    def _commit(self) -> None:
        self._connection.execute("COMMIT")

    def _fail(self, group: list[_Order], error: Exception) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for order in group or self._drop_all():
            if not order.done.done():
                order.done.set_exception(error)
                order.done.exception()  # seen: not everybody waits for a write

    def _drop_all(self) -> list[_Order]:
        """Give up everything that waits: not even a transaction can be begun."""
        orders = [*self._urgent, *self._orders]
        self._urgent.clear()
        self._orders.clear()
        return orders


def _translated(error: Exception) -> Exception:
    if isinstance(error, sqlite3.Error):
        failure = StateError(f"the journal cannot be written: {error}; nothing was lost")
        failure.__cause__ = error
        return failure
    return error
