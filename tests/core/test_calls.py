"""What the commands of tests/plugin_faults do not show from outside."""

import asyncio

import pytest
from attrs import define

from levada import PluginError, Retry, Sink
from levada.calls import Calls, Crashed, Stuck
from levada.host import Host


@define
class Slow(Sink):
    name = "slow"
    heeds_its_end: bool = True

    async def write(self, *_: object) -> None:
        if self.heeds_its_end:
            await asyncio.sleep(60)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(2)

    async def close(self) -> None:
        raise SystemExit


def calls_of(sink: Sink) -> Calls:
    def fail(error: PluginError) -> None:
        raise AssertionError(error)

    return Calls(Host().context("slow", sink), fail)


async def test_what_would_end_the_process_is_a_crash() -> None:
    with pytest.raises(Crashed, match=r"plugin 'slow' raised SystemExit from close\(\)"):
        await calls_of(Slow()).call("close")


async def test_a_call_beyond_its_limit_is_to_be_tried_again() -> None:
    calls = calls_of(Slow())

    with pytest.raises(Retry, match=r"write\(\) did not end in 0.1 s"):
        await calls.within(0.1, "write")

    assert not calls.busy


async def test_one_that_does_not_heed_its_end_is_stuck_and_stays_busy() -> None:
    calls = calls_of(Slow(heeds_its_end=False))

    with pytest.raises(Stuck, match=r"did not come back from write\(\)"):
        await calls.within(0.1, "write")

    assert calls.busy


async def test_giving_up_ends_what_has_a_limit_at_once() -> None:
    calls = calls_of(Slow())
    call = asyncio.create_task(calls.within(60, "write"))
    await asyncio.sleep(0.1)

    calls.give_up()

    with pytest.raises(Retry, match=r"did not end in 0\.\d s"):
        await call


async def test_to_be_cancelled_from_outside_is_no_crash() -> None:
    call = asyncio.create_task(calls_of(Slow()).call("write"))
    await asyncio.sleep(0)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
