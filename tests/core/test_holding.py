import asyncio
import math

import pytest

from levada.holding import STEP, Holding, held


async def grown(holding: Holding, size: int, until: asyncio.Event) -> None:
    """Have an answer of so many bytes, step by step, until it is done with."""
    with holding.answer() as share:
        for so_far in range(STEP, size + 1, STEP):
            await share.grow(so_far)
            await asyncio.sleep(0)
        await until.wait()


def free(holding: Holding) -> int:
    """Return how many steps are left before one has to go on regardless."""
    taken = [*iter(holding.take, math.inf)]
    for each in (*taken, math.inf):
        holding.give(each)
    return len(taken)


async def test_small_answers_wait_for_none() -> None:
    holding, never = Holding(0), asyncio.Event()

    small = [asyncio.create_task(grown(holding, STEP, never)) for _ in range(100)]
    large = asyncio.create_task(grown(holding, 8 * STEP, never))
    await asyncio.sleep(0.05)

    assert not any(task.done() for task in (*small, large))
    never.set()
    await asyncio.wait_for(asyncio.gather(*small, large), 1)


async def test_however_many_are_large_they_come_in_the_end() -> None:
    holding, at_once = Holding(4 * STEP), asyncio.Event()
    at_once.set()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(grown(holding, 10 * STEP, at_once))

    assert free(holding) == 4


async def test_those_for_whom_there_is_no_room_wait_for_one() -> None:
    holding, until = Holding(4 * STEP), asyncio.Event()
    steps = [0] * 8

    async def one(place: int) -> None:
        with holding.answer() as share:
            for steps[place] in range(1, 11):
                await share.grow(steps[place] * STEP)
                await asyncio.sleep(0)
            await until.wait()

    tasks = [asyncio.create_task(one(place)) for place in range(8)]
    await asyncio.sleep(0.1)
    waiting = [each for each in steps if each < 10]
    until.set()
    await asyncio.gather(*tasks)

    assert len(waiting) == 7
    assert sum(each - 1 for each in waiting) <= 7 + 4  # what each waits for, and what all had


async def test_one_that_is_cancelled_gives_back_what_it_had() -> None:
    holding, never = Holding(4 * STEP), asyncio.Event()
    tasks = [asyncio.create_task(grown(holding, 10 * STEP, never)) for _ in range(5)]
    await asyncio.sleep(0.05)

    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    assert free(holding) == 4


async def test_a_read_keeps_its_answer_until_it_asks_for_another() -> None:
    holding = Holding(4 * STEP)

    with held() as let_go:
        for _ in range(3):
            with holding.answer() as share:
                await share.grow(3 * STEP)
            assert free(holding) == 2
        let_go()
        assert free(holding) == 4
        with holding.answer() as share:
            await share.grow(2 * STEP)
    assert free(holding) == 4


async def test_outside_of_a_read_an_answer_is_held_until_it_is_there() -> None:
    holding = Holding(4 * STEP)

    with holding.answer() as share:
        await share.grow(3 * STEP)
        assert free(holding) == 2

    assert free(holding) == 4


async def test_an_answer_that_fails_is_held_no_longer_within_a_read_either() -> None:
    holding = Holding(4 * STEP)

    async def fail() -> None:
        with holding.answer() as share:
            await share.grow(3 * STEP)
            raise OSError("lost")

    with held():
        with pytest.raises(OSError, match="lost"):
            await fail()

        assert free(holding) == 4
