"""The life of a simulated Stevora run."""

from datetime import datetime
from typing import Literal

from attrs import define

from levada.sandbox.stevora.world import StevoraWorld
from levada.sandbox.tale import Tale
from levada.sandbox.world import When

__all__ = ["StevoraTale"]


@define(eq=False)
class StevoraTale(Tale):
    """A run that, if it fails, may be retried after a wait: then it completes."""

    world: StevoraWorld
    outcome: Literal["COMPLETED", "FAILED", "CANCELLED"]
    events_of_retry: int | None

    @property
    def exists(self) -> bool:
        """Whether nobody has deleted it."""
        return self.id in self.world.runs

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a decision or a signal."""
        return self.world.runs[self.id].status in {"WAITING", "PAUSED"}

    def start(self, started_at: datetime) -> str:
        """Add the run."""
        return self.world.add_run(self.parent_id, events=0, created_at=started_at).id

    def tell(self, when: When) -> None:
        """Go on with the story; a failed run is retried by that."""
        if self.world.runs[self.id].status == "FAILED":
            self.world.retry(self.id, **when)
        else:
            self.world.add_events(self.id, **when)

    def finish(self, when: When) -> None:
        """Come to the end, and plan a retry if there is to be one."""
        self.world.end(self.id, self.outcome, **when)
        if self.outcome == "FAILED" and self.events_of_retry and self.world.present is not None:
            self.outcome = "COMPLETED"
            self.left: int = self.events_of_retry
            self.plan_next(self.world.present + self.wait(), self.burst)
