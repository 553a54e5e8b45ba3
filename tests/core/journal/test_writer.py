import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from levada import StateError
from levada.journal.upkeep import Found, Upkeep
from levada.journal.writer import Writer

Insert = Callable[[sqlite3.Connection], int]


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    connection = sqlite3.connect(tmp_path / "db", isolation_level=None, check_same_thread=False)
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (n INTEGER UNIQUE);"
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT);"
    )
    upkeep = Upkeep(connection, tmp_path / "db", log_pages=1_000, found=Found(None, None))
    writer = Writer(connection, tmp_path / "db", upkeep)
    yield writer
    await writer.close()
    connection.close()


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[], list[int]]:
    def numbers() -> list[int]:
        with closing(sqlite3.connect(tmp_path / "db")) as connection:
            return [n for (n,) in connection.execute("SELECT n FROM t ORDER BY rowid")]

    return numbers


def insert(number: int) -> Insert:
    def write(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO t VALUES (?)", (number,))
        return number

    return write


def broken(connection: sqlite3.Connection) -> int:
    raise ValueError("a mistake of ours")


async def test_a_write_gives_its_result_once_others_can_see_it(
    writer: Writer, stored: Callable[[], list[int]]
) -> None:
    result = await writer.submit(insert(7))

    assert (result, stored()) == (7, [7])


async def test_nothing_is_visible_before_the_commit(
    writer: Writer, stored: Callable[[], list[int]]
) -> None:
    future = writer.submit(insert(1))

    assert stored() == []
    await future


async def test_writes_happen_in_the_order_they_were_made(
    writer: Writer, stored: Callable[[], list[int]]
) -> None:
    order: list[int] = []
    futures = [writer.submit(insert(number)) for number in range(1000)]
    for future in futures:
        future.add_done_callback(lambda done: order.append(done.result()))

    await asyncio.gather(*futures)

    assert stored() == order == list(range(1000))


async def test_a_write_that_raises_fails_alone(
    writer: Writer, stored: Callable[[], list[int]]
) -> None:
    group = [writer.submit(insert(1)), writer.submit(broken), writer.submit(insert(1))]
    group += [writer.submit(insert(2))]

    outcomes = await asyncio.gather(*group, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [int, ValueError, StateError, int]
    assert stored() == [1, 2]
    assert writer.rollbacks == 2


def slow(insert: Insert) -> Insert:
    """Return a write that is a group of its own: it takes too long for others."""

    def write(connection: sqlite3.Connection) -> int:
        time.sleep(0.01)
        return insert(connection)

    return write


def fills_the_disk(connection: sqlite3.Connection) -> int:
    connection.execute("PRAGMA max_page_count = 1")
    connection.execute("INSERT INTO t SELECT n + 10 FROM t")
    raise sqlite3.OperationalError("database or disk is full")


async def test_what_sqlite_cannot_do_fails_the_whole_group(
    writer: Writer, stored: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("levada.journal.writer.GROUP_S", 60)
    group = [writer.submit(insert(1)), writer.submit(fills_the_disk)]

    outcomes = await asyncio.gather(*group, return_exceptions=True)

    assert [isinstance(outcome, StateError) for outcome in outcomes] == [True, True]
    assert stored() == []


@pytest.mark.parametrize("bad", [broken, fills_the_disk])
async def test_with_a_write_fail_those_of_its_owner_that_wait(
    writer: Writer, stored: Callable[[], list[int]], bad: Insert
) -> None:
    first = writer.submit(slow(insert(1)))
    failed = writer.submit(slow(bad), of="a")
    waiting = [writer.submit(insert(number), of="a") for number in (2, 3)]
    others = [writer.submit(insert(4), of="b"), writer.submit(insert(5))]

    outcomes = await asyncio.gather(first, failed, *waiting, *others, return_exceptions=True)

    assert [isinstance(each, Exception) for each in outcomes] == [False, *[True] * 3, False, False]
    assert stored() == [1, 4, 5]


@pytest.mark.parametrize("bad", [broken, fills_the_disk])
async def test_an_owner_whose_write_has_failed_writes_nothing_more(
    writer: Writer, stored: Callable[[], list[int]], bad: Insert
) -> None:
    later: list[asyncio.Future[int]] = []
    failed = writer.submit(bad, of="a")
    failed.add_done_callback(lambda _: later.append(writer.submit(insert(1), of="a")))

    await asyncio.gather(failed, return_exceptions=True)
    outcomes = await asyncio.gather(
        *later, writer.submit(insert(2), of="a"), writer.submit(insert(3)), return_exceptions=True
    )

    assert [isinstance(each, Exception) for each in outcomes] == [True, True, False]
    assert stored() == [3]


async def test_writes_after_a_failed_group_work(
    writer: Writer, stored: Callable[[], list[int]]
) -> None:
    with pytest.raises(ValueError, match="a mistake of ours"):
        await writer.submit(broken)

    await writer.submit(insert(2))

    assert stored() == [2]


async def test_what_sqlite_refuses_is_an_error_of_the_state(writer: Writer) -> None:
    await writer.submit(insert(1))

    with pytest.raises(StateError, match=r"/db cannot be written: UNIQUE"):
        await writer.submit(insert(1))


async def test_a_write_whose_waiter_gave_up_is_made_all_the_same(
    writer: Writer, stored: Callable[[], list[int]]
) -> None:
    future = writer.submit(insert(1))
    future.cancel()

    await writer.submit(insert(2))

    assert stored() == [1, 2]


async def test_closing_finishes_what_is_queued(
    writer: Writer, stored: Callable[[], list[int]]
) -> None:
    futures = [writer.submit(insert(number)) for number in range(50)]

    await writer.close()

    assert stored() == list(range(50))
    assert all(future.done() for future in futures)


async def test_a_journal_that_cannot_begin_fails_all_that_waits(
    writer: Writer, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writes = [writer.submit(insert(1)), writer.submit(insert(2))]
        writer._connection.execute("PRAGMA busy_timeout = 0")

        outcomes = await asyncio.gather(*writes, return_exceptions=True)

        other.execute("ROLLBACK")
    locked = "another program has locked it; close it, and run the same again"
    assert [str(outcome) for outcome in outcomes] == 2 * [
        f"{tmp_path}/db cannot be written: database is locked; {locked}"
    ]


async def test_a_journal_that_was_taken_away_is_not_written_to(
    writer: Writer, tmp_path: Path
) -> None:
    await writer.submit(insert(1))
    (tmp_path / "db").rename(tmp_path / "elsewhere")

    with pytest.raises(StateError, match="db was removed or replaced while it was in use"):
        await writer.submit(insert(2))
