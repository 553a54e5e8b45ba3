"""When to try again: back-off, Retry-After, and which statuses pass by themselves."""

import random
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

FIRST_WAIT = timedelta(milliseconds=500)
LONGEST_WAIT = timedelta(seconds=60)
LONGEST_RETRY_AFTER = timedelta(hours=1)

_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_TRANSIENT = frozenset({408, 425, 429, *range(500, 600)} - {501, 505})
_DOUBLINGS = 60  # more would overflow, and every cap is reached long before


def backoff(
    attempt: int,
    *,
    first: timedelta = FIRST_WAIT,
    cap: timedelta = LONGEST_WAIT,
    rng: random.Random,
) -> timedelta:
    """Choose how long to wait after failed attempt number *attempt*, counted from 1.

    Evenly spread between nothing and a ceiling that doubles from *first* up to *cap* ("full
    jitter"), so that clients that failed together do not come back together.
    """
    ceiling = first.total_seconds() * 2 ** min(max(attempt, 1) - 1, _DOUBLINGS)
    return timedelta(seconds=rng.uniform(0, min(ceiling, cap.total_seconds())))


def retry_after(
    value: str | None, *, now: datetime, cap: timedelta = LONGEST_RETRY_AFTER
) -> timedelta | None:
    """Read a ``Retry-After`` header: seconds, with decimals if it must be, or an HTTP date.

    None where it says nothing usable: absent, negative, NaN, a date not after *now* (aware).
    Never more than *cap*.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=min(float(text), cap.total_seconds()))
    moment = http_date(text)
    if moment is None or moment <= now:
        return None
    return min(moment - now, cap)


def http_date(value: str | None) -> datetime | None:
    """Read an HTTP date in any of its three forms; None if it is none. Always UTC."""
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # Of a date without a zone RFC 9110 says that it is GMT.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def is_transient(status: int) -> bool:
    """Tell whether the same request may succeed later without anybody doing anything."""
    return status in _TRANSIENT
