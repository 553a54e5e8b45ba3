"""The request allowance of one key, on a clock that moves only when somebody sleeps."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from levada.http.budget import Budget
from levada.http.clock import Clock


class Time:
    """A clock for tests; `sleeps` is what was slept."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        self.clock = Clock(
            utc=lambda: datetime(2026, 1, 1, tzinfo=UTC), monotonic=self.read, sleep=self.sleep
        )

    def read(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    return Time()


async def send(budget: Budget, times: int = 1, **headers: int) -> None:
    """Send requests one after the other; each answer carries these X-RateLimit headers."""
    for _ in range(times):
        await budget.enter()
        budget.leave()
        budget.learn({f"x-ratelimit-{name}": str(value) for name, value in headers.items()})
        budget.accept()


async def test_without_headers_and_limit_nothing_is_held_back(time: Time) -> None:
    await send(Budget(clock=time.clock), 10_000)

    assert time.sleeps == []


async def test_requests_are_free_until_the_share_is_used(time: Time) -> None:
    budget = Budget(share=0.5, clock=time.clock)

    for remaining in range(99, 49, -1):
        await send(budget, limit=100, remaining=remaining)

    assert time.sleeps == []


@pytest.mark.parametrize(("share", "interval"), [(0.5, 1.2), (0.25, 2.4), (1.0, 0.6)])
async def test_beyond_its_share_requests_are_paced_evenly(
    time: Time, share: float, interval: float
) -> None:
    budget = Budget(share=share, clock=time.clock)
    await send(budget, limit=100, remaining=0)

    await send(budget, 5, limit=100, remaining=0)

    assert time.sleeps == pytest.approx([interval] * 5)


async def test_what_went_freely_counts_against_the_share(time: Time) -> None:
    budget = Budget(share=0.5, clock=time.clock)
    for remaining in range(99, 49, -1):
        await send(budget, limit=100, remaining=remaining)

    await send(budget)

    assert sum(time.sleeps) == pytest.approx(60)


async def test_no_minute_has_more_than_the_share_of_a_fixed_window(time: Time) -> None:
    budget, sent = Budget(share=0.5, clock=time.clock), list[float]()
    for _ in range(300):
        await budget.enter()
        sent.append(time.now)
        window = [each for each in sent if each // 60 == time.now // 60]
        budget.leave()
        budget.learn({"x-ratelimit-limit": "100", "x-ratelimit-remaining": str(100 - len(window))})

    busiest = max(len([s for s in sent if at <= s < at + 60]) for at in sent)
    assert busiest <= 50
    assert sent[-1] - sent[0] <= 300 / 50 * 60


async def test_a_new_window_sets_requests_free(time: Time) -> None:
    budget = Budget(clock=time.clock)
    await send(budget, limit=100, remaining=10)
    await send(budget, limit=100, remaining=99)
    time.sleeps.clear()

    await send(budget, 20)

    assert time.sleeps == []


async def test_what_was_told_a_minute_ago_is_forgotten(time: Time) -> None:
    budget = Budget(clock=time.clock)
    await send(budget, limit=100, remaining=0)
    time.now += 60

    await send(budget, 20)

    assert time.sleeps == []


async def test_requests_under_way_count_as_used(time: Time) -> None:
    budget = Budget(share=0.5, clock=time.clock)
    await send(budget, limit=100, remaining=53)

    for _ in range(4):
        await budget.enter()

    assert len(time.sleeps) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-limit": "100"},
        {"x-ratelimit-limit": "0", "x-ratelimit-remaining": "0"},
        {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "-1"},
        {"x-ratelimit-limit": "100, 100;w=60", "x-ratelimit-remaining": "0"},
        {"x-ratelimit-limit": "9" * 5000, "x-ratelimit-remaining": "0"},
    ],
)
async def test_headers_that_make_no_sense_change_nothing(
    time: Time, headers: dict[str, str]
) -> None:
    budget = Budget(clock=time.clock)
    budget.learn(headers)

    await send(budget, 3)

    assert time.sleeps == []


async def test_a_configured_limit_allows_a_short_burst_and_then_its_rate(time: Time) -> None:
    budget = Budget(limit=60, clock=time.clock)

    await send(budget, 65)

    assert len(time.sleeps) == 60
    assert time.now == pytest.approx(1060)


async def test_a_tiny_limit_still_lets_one_request_through(time: Time) -> None:
    budget = Budget(limit=1, clock=time.clock)

    await send(budget, 2)

    assert time.sleeps == pytest.approx([60])


async def test_headers_overrule_the_configured_limit(time: Time) -> None:
    budget = Budget(limit=1, clock=time.clock)

    await send(budget, 20, limit=1000, remaining=900)

    assert time.sleeps == []


async def test_of_two_users_of_a_key_the_more_careful_one_wins(time: Time) -> None:
    budget = Budget(share=0.5, limit=600, clock=time.clock)
    budget.tighten(share=0.9, limit=60)
    budget.tighten(share=0.9, limit=None)

    await send(budget, 6)
    await send(budget, 2, limit=100, remaining=0)

    assert time.sleeps == pytest.approx([1, 1, 1.2])


async def test_a_refusal_holds_everyone_back_as_long_as_it_says(time: Time) -> None:
    budget = Budget(clock=time.clock)
    budget.refuse(timedelta(seconds=60))

    await asyncio.gather(*(send(budget) for _ in range(5)))

    assert time.sleeps == [60]


async def test_refusals_that_say_nothing_hold_back_longer_each_time(time: Time) -> None:
    budget = Budget(clock=time.clock)

    for after in (None, timedelta(0), timedelta(seconds=0.2), None):
        budget.refuse(after)
        await budget.enter()

    assert time.sleeps == [1, 2, 4, 8]


async def test_many_requests_refused_at_once_are_one_refusal(time: Time) -> None:
    budget = Budget(clock=time.clock)

    for _ in range(16):
        budget.refuse(None)

    assert budget.held_s == 1


async def test_a_short_hold_does_not_shorten_a_long_one(time: Time) -> None:
    budget = Budget(clock=time.clock)
    budget.refuse(timedelta(seconds=60))

    budget.refuse(timedelta(seconds=5))

    assert budget.held_s == 60


async def test_an_accepted_request_makes_the_next_refusal_short_again(time: Time) -> None:
    budget = Budget(clock=time.clock)
    budget.refuse(None)
    await send(budget)

    budget.refuse(None)

    assert budget.held_s == 1


async def test_waiters_go_in_the_order_they_came(time: Time) -> None:
    budget = Budget(limit=60, clock=time.clock)
    await send(budget, 5)
    order: list[int] = []

    async def wait(number: int) -> None:
        await send(budget)
        order.append(number)

    await asyncio.gather(*(wait(number) for number in range(20)))

    assert order == list(range(20))


async def test_a_cancelled_waiter_lets_the_next_one_go(time: Time) -> None:
    budget = Budget(limit=60, clock=Clock(monotonic=time.read))
    await send(budget, 5)
    waiting = asyncio.create_task(budget.enter())
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    time.now += 1
    await asyncio.wait_for(budget.enter(), 1)

    assert budget.held_s == 0
