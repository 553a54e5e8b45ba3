import asyncio
import gc
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.doubles import event
from levada import Batch, Event
from levada.backlog import PageBacklog

PAGES = st.lists(st.lists(st.integers(1, 3000), max_size=5), max_size=12)


def pages_of(sizes: list[list[int]]) -> list[list[Event]]:
    """Return pages whose events, newest first, are numbered downwards."""
    number = sum(map(len, sizes))
    pages: list[list[Event]] = []
    for page in sizes:
        pages.append([])
        for size in page:
            pages[-1].append(event(number, size=size))
            number -= 1
    return pages


async def all_of(backlog: PageBacklog, position: object = "top") -> list[Batch]:
    return [batch async for batch in backlog.batches(position)]


@given(PAGES, st.sampled_from([0, 2000, 10**9]))
def test_a_backlog_turns_newest_first_into_oldest_first(sizes: list[list[int]], room: int) -> None:
    backlog, pages = PageBacklog(), pages_of(sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("levada.backlog.MEMORY_BYTES", room)
        for page in pages:
            backlog.push(iter(page))
        batches = asyncio.run(all_of(backlog))

    found = list(chain.from_iterable(batch.events for batch in batches))
    assert found == list(chain.from_iterable(pages))[::-1]


@given(PAGES, st.sampled_from([0, 10**9]))
def test_only_the_last_batch_has_the_position(sizes: list[list[int]], room: int) -> None:
    backlog = PageBacklog()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("levada.backlog.MEMORY_BYTES", room)
        for page in pages_of(sizes):
            backlog.push(page)
        batches = asyncio.run(all_of(backlog))

    assert [batch.position for batch in batches] == [None] * (len(batches) - 1) + ["top"]


async def test_an_empty_backlog_still_brings_the_position() -> None:
    backlog = PageBacklog()
    backlog.push([])

    (batch,) = await all_of(backlog)

    assert (list(batch.events), batch.position) == ([], "top")


async def test_a_large_backlog_does_not_stay_in_memory() -> None:
    backlog = PageBacklog()

    for page in pages_of([[1_000_000] * 3] * 5):
        backlog.push(page)

    assert sum(len(each.raw) for page in backlog._pages for each in page) <= 4 * 1024 * 1024
    assert sum(len(batch.events) for batch in await all_of(backlog)) == 15


async def test_a_backlog_that_is_not_read_to_its_end_leaves_no_file_open() -> None:
    backlog = PageBacklog()
    for page in pages_of([[1_000_000] * 3] * 5):
        backlog.push(page)

    file = backlog._file
    batches = backlog.batches("top")
    await anext(batches)
    del backlog, batches
    gc.collect()
    await asyncio.sleep(0.01)  # the loop ends generators that nobody holds

    assert file is not None
    assert file.closed
