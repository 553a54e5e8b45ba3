"""Back-off, Retry-After and transient statuses."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levada.retry import backoff, http_date, is_transient, retry_after

NOW = datetime(1994, 11, 6, 8, 49, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [(0, 0.5), (1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (10_000, 60)],
)
def test_backoff_spreads_below_a_ceiling_that_doubles(attempt: int, ceiling: float) -> None:
    rng = random.Random(1)  # noqa: S311  # only jitter

    waits = [backoff(attempt, rng=rng).total_seconds() for _ in range(500)]

    assert min(waits) >= 0
    assert max(waits) <= ceiling
    assert max(waits) - min(waits) > 0.9 * ceiling


def test_backoff_takes_its_first_wait_and_its_cap_from_the_caller() -> None:
    rng = random.Random(1)  # noqa: S311  # only jitter

    waits = [backoff(5, first=seconds(1), cap=seconds(3), rng=rng) for _ in range(500)]

    assert seconds(2.9) < max(waits) <= seconds(3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", seconds(0)),
        ("7", seconds(7)),
        (" 7 ", seconds(7)),
        ("0.25", seconds(0.25)),
        ("7.", seconds(7)),
        ("3600", HOUR),
        ("3601", HOUR),
        ("9" * 5000, HOUR),
        ("Sun, 06 Nov 1994 08:49:37 GMT", seconds(30)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", seconds(30)),
        ("Sun Nov  6 08:49:37 1994", seconds(30)),
        ("Sun, 06 Nov 1994 10:49:37 +0200", seconds(30)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", HOUR),
    ],
)
def test_retry_after_reads_seconds_and_dates(value: str, expected: timedelta) -> None:
    assert retry_after(value, now=NOW) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "-1",
        "+1",
        "nan",
        "NaN",
        "inf",
        "1e3",
        "1, 2",
        ".5",
        "٣",
        "soon",
        "Sun, 06 Nov 1994 08:49:07 GMT",
        "Sun, 06 Nov 1993 08:49:37 GMT",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999999999 08:49:37 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
    ],
)
def test_retry_after_takes_nonsense_for_silence(value: str | None) -> None:
    assert retry_after(value, now=NOW) is None


@given(st.text() | st.floats().map(str) | st.datetimes().map("{:%a, %d %b %Y %H:%M:%S GMT}".format))
def test_retry_after_never_fails_and_stays_within_its_cap(value: str) -> None:
    wait = retry_after(value, now=NOW)

    assert wait is None or timedelta(0) <= wait <= HOUR


def test_retry_after_takes_its_cap_from_the_caller() -> None:
    assert retry_after("10", now=NOW, cap=seconds(3)) == seconds(3)


def test_an_http_date_without_a_zone_is_utc() -> None:
    assert http_date("Sun Nov  6 08:49:07 1994") == NOW


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 599])
def test_statuses_that_pass_by_themselves(status: int) -> None:
    assert is_transient(status)


@pytest.mark.parametrize("status", [100, 200, 304, 400, 401, 403, 404, 409, 410, 501, 505, 600])
def test_statuses_that_stay(status: int) -> None:
    assert not is_transient(status)
