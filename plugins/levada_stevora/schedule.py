"""When a failed run is looked at again."""

from bisect import bisect_right
from datetime import datetime, timedelta
from typing import Final

AFTER: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 2 * 60, 5 * 60, 24 * 60))
"""How long after it failed. A failed run may be retried (Stevora's page about workflows and steps:
FAILED to RUNNING), and a retry may come and go between two passes without a trace in any list.
After the last look the run is closed."""


def looks_due(failed_at: datetime, now: datetime) -> int:
    """Count the looks whose time has come; two that were missed are made up for by one."""
    return bisect_right(AFTER, now - failed_at)
