import random
from datetime import UTC, datetime, timedelta

import pytest

from levada import Failure, Retry
from levada_webhook.schedule import Schedule, retry_after
from levada_webhook.sink import SCHEDULE

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def minutes_until(failure: Failure) -> float | None:
    assert isinstance(failure, Retry)
    return None if failure.after is None else failure.after.total_seconds() / 60


class Middle(random.Random):
    """Chance that always takes the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@pytest.fixture
def schedule() -> Schedule:
    return Schedule(SCHEDULE, rng=Middle())


def test_an_attempt_is_followed_by_its_step(schedule: Schedule) -> None:
    waits = [minutes_until(schedule.later(attempt, "x")) for attempt in range(1, 10)]

    assert waits == pytest.approx([5 / 60, 5, 30, 120, 300, 600, 840, 1200, 1440])


def test_what_looks_momentary_is_tried_quickly_at_first(schedule: Schedule) -> None:
    waits = [minutes_until(schedule.momentary(attempt, "x")) for attempt in range(1, 10)]

    assert waits[:2] == [None, None]
    assert waits[2:] == pytest.approx([5, 30, 120, 300, 600, 840, 1200])


def test_short_steps_are_not_lengthened() -> None:
    schedule = Schedule([timedelta(0), timedelta(milliseconds=10)], rng=Middle())

    assert schedule.momentary(1, "x").after == timedelta(milliseconds=10)  # type: ignore[attr-defined]  # a Retry
    assert schedule.soon(1, "x").after == timedelta(milliseconds=10)  # type: ignore[attr-defined]  # a Retry


def test_the_schedule_ends_with_its_last_step(schedule: Schedule) -> None:
    assert [schedule.is_exhausted(attempt) for attempt in (1, 9, 10, 11)] == [
        False,
        False,
        True,
        True,
    ]


def test_jitter_stays_within_a_tenth() -> None:
    schedule = Schedule(SCHEDULE, rng=random.Random(7))  # noqa: S311  # no secret in it

    waits = [minutes_until(schedule.later(2, "x")) or 0 for _ in range(200)]

    assert 4.5 <= min(waits) < 4.6
    assert 5.4 < max(waits) <= 5.5


@pytest.mark.parametrize(
    ("attempt", "wait_s", "expected_s", "everywhere"),
    [(1, 2, 2, True), (5, 0, 1, True), (6, 2, 36000, False), (1, 3600, 3600, True)],
)
def test_the_receiver_s_wish_rules_for_five_attempts(
    attempt: int, wait_s: int, expected_s: int, everywhere: bool, schedule: Schedule
) -> None:
    failure = schedule.asked(attempt, "x", timedelta(seconds=wait_s))

    assert isinstance(failure, Retry)
    assert failure.after == timedelta(seconds=expected_s)
    assert failure.everywhere == everywhere


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("999999999", 3600),
        ("Fri, 02 Jan 2026 12:00:30 GMT", 30),
        ("Fri, 02 Jan 2026 11:00:00 GMT", None),
        ("Fri, 02 Jan 2096 12:00:00 GMT", 3600),
        ("-1", None),
        ("NaN", None),
        ("1e9", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("9" * 400, None),
    ],
)
def test_retry_after(value: str | None, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert retry_after(value, now=NOW) == expected
