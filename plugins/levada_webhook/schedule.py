"""When a delivery is tried again, and when no more."""

import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from attrs import field, frozen

from levada import Failure, Retry

JITTER = 0.1
MOMENT = timedelta(seconds=1)
QUICK_TRIES = 2
PATIENT_TRIES = 5
LONGEST_RETRY_AFTER = timedelta(hours=1)

_SECONDS = re.compile(r"[0-9]{1,9}")


@frozen
class Schedule:
    """The waits before each attempt; `steps[0]` is before the first, and not used."""

    steps: Sequence[timedelta]
    rng: random.Random = field(factory=random.Random, repr=False, eq=False)

    def is_exhausted(self, attempt: int) -> bool:
        """Whether *attempt*, counted from 1, was the last."""
        return attempt >= len(self.steps)

    def momentary(self, attempt: int, reason: str, *, persist: bool = True) -> Failure:
        """After a lost connection or a 5xx, as a restart of the receiver makes: first quickly.

        Two quick tries, timed by the host, take the place of the first long steps; all lanes
        wait meanwhile. Then the schedule goes on one step behind.
        """
        if self.steps[attempt] <= MOMENT:
            return self.later(attempt, reason, persist=persist)
        if attempt <= QUICK_TRIES:
            return Retry(reason, everywhere=True)
        return self.later(attempt - 1, reason, persist=persist)

    def soon(self, attempt: int, reason: str) -> Failure:
        """After an answer that will hardly change: once more within about a second."""
        return Retry(reason, after=self._jittered(min(self.steps[attempt], MOMENT)))

    def later(self, attempt: int, reason: str, *, persist: bool = True) -> Failure:
        """At the schedule's next step, or if not to *persist* when the process starts anew."""
        return Retry(reason, after=self._jittered(self.steps[attempt]), persist=persist)

    def asked(self, attempt: int, reason: str, wait: timedelta) -> Failure:
        """When the receiver said; the whole sink waits.

        A receiver that always says "in a second" would use all attempts up in ten: after five
        the schedule rules.
        """
        if attempt > PATIENT_TRIES and wait < self.steps[attempt]:
            return self.later(attempt, reason)
        return Retry(reason, after=max(wait, MOMENT), everywhere=True)

    def _jittered(self, wait: timedelta) -> timedelta:
        return wait * self.rng.uniform(1 - JITTER, 1 + JITTER)


def retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Read a ``Retry-After`` header, seconds or a date; at most an hour.

    None where it says nothing usable: absent, negative, a date not after *now*.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(timedelta(seconds=int(text)), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(wait, LONGEST_RETRY_AFTER) if wait > timedelta(0) else None
