"""Time and chance, in one place so that tests can replace them."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from attrs import field, frozen


def _utc() -> datetime:
    return datetime.now(UTC)


@frozen(kw_only=True)
class Clock:
    """What waiting needs; the real thing unless told otherwise."""

    utc: Callable[[], datetime] = _utc
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: random.Random = field(factory=random.Random)
