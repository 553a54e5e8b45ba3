"""The one connection that writes to the journal: group commit."""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from levada.errors import StateError
from levada.journal.trouble import trouble
from levada.journal.upkeep import Upkeep

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], T]

GROUP_S = 0.003  # how long the loop is kept from its other work for the writes of one commit


@frozen
class _Order:
    """A write that waits for its commit, and who waits for it."""

    write: Write[Any]
    urgent: bool
    of: object
    done: "asyncio.Future[Any]"


class Writer:
    """Runs writes in the order they come, all that are waiting in one transaction.

    *urgent* ones go before all others: sinks make them, few and short, and what reads upstream
    makes many. A write is a function of the connection, and may be run again after a rollback.
    One that raises fails alone; where SQLite or the disk fails, the whole group does. With a write
    fail all that follow of the same owner: they build on it.

    The writes run in the loop's thread: SQLite lets go of the interpreter's lock for every row,
    and a second thread would wait for it as often. Only what waits for the disk runs in a thread
    of its own: the commit, and between two of them the *upkeep* when it is due.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, upkeep: Upkeep) -> None:
        self.rollbacks: int = 0
        """How often what writes had done was undone."""
        self._connection = connection
        self._path = path
        self._file = _identity(path)
        self._upkeep = upkeep
        self._failed: dict[object, Exception] = {}
        self._urgent: deque[_Order] = deque()
        self._orders: deque[_Order] = deque()
        self._work: asyncio.Task[None] | None = None
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="levada-journal")

    def submit(
        self, write: Write[T], *, urgent: bool = False, of: object = None
    ) -> "asyncio.Future[T]":
        """Queue *write*, of an owner; the future gives what it returned once that is durable."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if of in self._failed:
            _fail(done, self._failed[of])
            return done
        self._queue(urgent=urgent).append(_Order(write, urgent, of, done))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._commit_all())
        return done

    def _queue(self, *, urgent: bool) -> deque[_Order]:
        return self._urgent if urgent else self._orders

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
                await self._in_thread(self._commit)
            except Exception as error:  # noqa: BLE001  # it belongs to those who wait
                self._undo()
                if _is_of_one(error):
                    self._put_back(group[:-1])
                    group = group[-1:]
                self._fail(group or self._drop_all(), self._translated(error))
            else:
                for order, result in zip(group, results, strict=True):
                    if not order.done.done():
                        order.done.set_result(result)
                if self._upkeep.is_due():
                    await self._in_thread(self._upkeep.put_in)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, work)

    def _run(self, group: list[_Order]) -> list[Any]:
        """Run what is queued, for a while; *group* tells what was run even if it raises."""
        if self._file is None or _identity(self._path) != self._file:
            raise StateError(f"{self._path} was removed or replaced while it was in use")
        self._connection.execute("BEGIN IMMEDIATE")
        results: list[Any] = []
        until = time.monotonic() + GROUP_S
        while (orders := self._urgent or self._orders) and time.monotonic() < until:
            group.append(orders.popleft())
            results.append(group[-1].write(self._connection))
        return results

    def _commit(self) -> None:
        self._connection.execute("COMMIT")

    def _undo(self) -> None:
        self.rollbacks += 1
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):  # the next BEGIN says what is wrong
                self._connection.execute("ROLLBACK")

    def _put_back(self, orders: Sequence[_Order]) -> None:
        """Let those that were run and undone wait again, before all others."""
        for order in reversed(orders):
            self._queue(urgent=order.urgent).appendleft(order)

    def _fail(self, failed: Sequence[_Order], error: Exception) -> None:
        """Fail writes, those of their owners that wait, and those that are yet to come."""
        owners = {order.of for order in failed} - {None}
        self._failed |= dict.fromkeys(owners, error)
        for queue in (self._urgent, self._orders):
            failed = [*failed, *(order for order in queue if order.of in owners)]
            kept = [order for order in queue if order.of not in owners]
            queue.clear()
            queue.extend(kept)
        for order in failed:
            if not order.done.done():
                _fail(order.done, error)

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.Error):
            failure = trouble(error, self._path, "written")
            failure.__cause__ = error
            return failure
        return error

    def _drop_all(self) -> list[_Order]:
        """Give up everything that waits: not even a transaction can be begun."""
        orders = [*self._urgent, *self._orders]
        self._urgent.clear()
        self._orders.clear()
        return orders


def _fail(done: "asyncio.Future[Any]", error: Exception) -> None:
    done.set_exception(error)
    done.exception()  # seen: not everybody waits for a write


def _is_of_one(error: Exception) -> bool:
    """Whether a write itself is wrong, or what it was given; not SQLite, the disk or the file."""
    if not isinstance(error, sqlite3.Error):
        return True
    return isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at *path* from every other; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
