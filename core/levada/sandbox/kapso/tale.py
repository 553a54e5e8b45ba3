"""The life of a simulated Kapso execution."""

from datetime import datetime
from typing import Literal

from attrs import define

from levada.sandbox.kapso.world import KapsoWorld
from levada.sandbox.tale import Tale
from levada.sandbox.world import When

__all__ = ["KapsoTale"]


@define(eq=False)
class KapsoTale(Tale):
    """An execution that is handed to a person when `hands_off_at` events are left."""

    world: KapsoWorld
    outcome: Literal["ended", "failed"]
    hands_off_at: int | None

    @property
    def exists(self) -> bool:
        """Whether nobody has deleted it."""
        return self.id in self.world.executions

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a reply or is with a person."""
        return self.world.executions[self.id].status in {"waiting", "handoff"}

    def start(self, started_at: datetime) -> str:
        """Add the execution."""
        return self.world.add_execution(self.parent_id, events=0, started_at=started_at).id

    def tell(self, when: When) -> None:
        """Go on with the story, or hand over."""
        if self.left == self.hands_off_at:
            self.world.hand_off(self.id, **when)
        else:
            self.world.add_events(self.id, **when)

    def finish(self, when: When) -> None:
        """End or fail."""
        self.world.end(self.id, self.outcome, **when)
