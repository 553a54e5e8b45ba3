"""How far a run is: one live line on a terminal, otherwise a line every ten seconds."""

import asyncio
import time
from collections import deque

from levada.cli.console import Console
from levada.cli.text import safe
from levada.pipeline import Pipeline

LIVE_S = 0.2
LINE_S = 10.0
RATE_OVER_S = 3.0


class Progress:
    """Watches a pipeline from the same event loop."""

    def __init__(self, pipeline: Pipeline, console: Console, *, live: bool) -> None:
        self._pipeline = pipeline
        self._console = console
        self._live = live
        self._seen: deque[tuple[float, int]] = deque()

    async def run(self) -> None:
        """Show how far it is until cancelled; then take the live line away."""
        try:
            while True:
                await asyncio.sleep(LIVE_S if self._live else LINE_S)
                show = self._console.live if self._live else self._console.line
                show(safe(self.text()))
        finally:
            self._console.live("")

    def text(self) -> str:
        """Return one line: what was read, what each sink has, how fast."""
        sources = [
            f"{intake.setup.name} {intake.counts.events:,}" for intake in self._pipeline.intakes
        ]
        sinks = [
            f"{drain.setup.name} {drain.tally.delivered:,}"
            + ("" if drain.condition == "active" else f" {drain.condition}")
            for drain in self._pipeline.drains
        ]
        parts = [*sources, self._console.arrow, *sinks, f"{self._rate():,.0f}/s"]
        return "  ".join(parts)

    def _rate(self) -> float:
        """Return the events read in a second, over the last few."""
        now = time.monotonic()
        self._seen.append((now, sum(each.counts.events for each in self._pipeline.intakes)))
        while self._seen[0][0] < now - max(RATE_OVER_S, LINE_S * (not self._live)) - 1:
            self._seen.popleft()
        (then, before), (_, events) = self._seen[0], self._seen[-1]
        return (events - before) / (now - then) if now > then else 0.0
