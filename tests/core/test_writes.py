import asyncio

import pytest

from levada.writes import MOST, Writes


async def test_tells_what_a_write_resolved_to() -> None:
    writes, write = Writes(), asyncio.get_running_loop().create_future()
    told: list[int] = []
    await writes.add(lambda: write, told.append)

    write.set_result(7)
    await writes.durable()

    assert told == [7]


async def test_a_write_begins_when_few_enough_are_under_way() -> None:
    writes, loop = Writes(), asyncio.get_running_loop()
    begun: list[asyncio.Future[int | None]] = []

    def begin() -> asyncio.Future[int | None]:
        begun.append(loop.create_future())
        return begun[-1]

    adding = [asyncio.create_task(writes.add(begin)) for _ in range(MOST + 2)]
    await asyncio.sleep(0)
    assert len(begun) == MOST

    adding[-2].cancel()
    begun[0].set_result(None)
    await adding[-1]

    assert len(begun) == MOST + 1


async def test_the_first_that_fails_fails_all_that_follow() -> None:
    writes, loop = Writes(), asyncio.get_running_loop()
    failing = loop.create_future()
    await writes.add(lambda: failing)

    failing.set_exception(OSError("full"))

    with pytest.raises(OSError, match="full"):
        await writes.durable()
    with pytest.raises(OSError, match="full"):
        await writes.add(loop.create_future)
