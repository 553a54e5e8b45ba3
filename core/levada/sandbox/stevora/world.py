"""A Stevora workspace that can be sampled, changed and left to grow."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, Self, Unpack

from attrs import define, field

from levada.sandbox.stevora import script
from levada.sandbox.stevora.data import StevoraDefinition, StevoraEvent, StevoraRun, new_id
from levada.sandbox.world import DEFAULT_START, When, World, whole_milliseconds

__all__ = ["StevoraWorld"]

_BETWEEN_STARTS: Final = timedelta(seconds=30)
_OPEN_STATUSES: Final[tuple[script.StevoraStatus, ...]] = ("RUNNING", "WAITING", "PAUSED")
_FINAL_STATUSES: Final[tuple[script.StevoraStatus, ...]] = (
    "COMPLETED",
    "COMPLETED",
    "FAILED",
    "COMPLETED",
    "CANCELLED",
)


@define(kw_only=True, eq=False)
class StevoraWorld(World):
    """One Stevora workspace. Build it with `sample`, or empty and then `add_definition`."""

    workspace_id: str = field(init=False)
    definitions: dict[str, StevoraDefinition] = field(init=False, factory=dict, repr=False)
    runs: dict[str, StevoraRun] = field(init=False, factory=dict, repr=False)
    _runs_created: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.workspace_id = new_id("ws", self.rng("workspace"))

    @classmethod
    def sample(
        cls,
        *,
        definitions: int = 2,
        runs: int = 12,
        events: int = 8,
        open: int = 3,  # noqa: A002 - the opposite of final, as everywhere in this project
        seed: int = 7,
        start: datetime = DEFAULT_START,
    ) -> Self:
        """Build a workspace of `runs` in all, each of exactly `events` events.

        A run starts every 30 seconds from `start` on. `open` of them, anywhere in the list, are
        running, waiting or paused in turn; of the others one in five has failed and one in five
        was cancelled.

        Raises:
            ValueError: A final run would have fewer than two events.
        """
        if events < 2 and open < runs:  # noqa: PLR2004 - its start and its end
            raise ValueError("a run that is over has at least two events")
        start = whole_milliseconds(start)
        world = cls(seed=seed)
        for number in range(definitions):
            world.now = start - timedelta(days=definitions - number)
            world.add_definition()
        definition_ids = list(world.definitions)
        left_open = sorted(world.rng("open").sample(range(runs), open))
        for number in range(runs):
            world.now = start + number * _BETWEEN_STARTS
            run = world.add_run(definition_ids[number % definitions], events=0)
            status = _sample_status(number, left_open)
            world.add_events(run.id, events - script.CLOSING_LENGTH[status])
            world._close(run, status, {})
        ends = [run.events[-1].created_at for run in world.runs.values() if run.events]
        world.now = max(ends, default=start)
        return world

    @property
    def open_runs(self) -> list[StevoraRun]:
        """The runs that are not over, in the order in which they were added."""
        return [run for run in self.runs.values() if not run.is_final]

    @property
    def events(self) -> list[StevoraEvent]:
        """Every visible event of the workspace, run by run, oldest first in each."""
        return [event for run in self.runs.values() for event in run.events]

    def events_by(self, moment: datetime) -> list[StevoraEvent]:
        """Return those of `events` that were visible at a moment already."""
        return [event for event in self.events if event.visible_at <= moment]

    def add_definition(
        self, name: str | None = None, *, created_at: datetime | None = None
    ) -> StevoraDefinition:
        """Create a definition."""
        with self.lock:
            number = len(self.definitions) + 1
            rng = self.rng(f"definition {number}")
            definition = StevoraDefinition(
                id=new_id("wfdef", rng),
                name=name or f"welcome-flow-{number}",
                created_at=self._dates(rng, {"created_at": created_at})[0],
            )
            self.definitions[definition.id] = definition
            return definition

    def add_run(
        self,
        definition_id: str | None = None,
        *,
        events: int = 1,
        created_at: datetime | None = None,
    ) -> StevoraRun:
        """Create a run with its first `events`; without events it is PENDING.

        Without an id it is one of the first definition, which is created if need be. It may have
        been created at any time, also before others that are there already.
        """
        with self.lock:
            first = next(iter(self.definitions), None) or self.add_definition().id
            self._runs_created: int = self._runs_created + 1
            rng = self.rng(f"run {self._runs_created}")
            created_at, _ = self._dates(rng, {"created_at": created_at})
            run = StevoraRun(
                id=new_id("wfrun", rng),
                definition=self.definitions[definition_id or first],
                created_at=created_at,
                updated_at=created_at,
                rng=rng,
                beats=script.beats(rng),
            )
            self.runs[run.id] = run
            self.add_events(run.id, events)
            return run

    def add_events(self, run_id: str, n: int = 1, **when: Unpack[When]) -> list[StevoraEvent]:
        """Continue a run by `n` events; a final one stays final.

        With `created_at` all have that time.
        """
        with self.lock:
            run = self.runs[run_id]
            return [self._tell(run, next(run.beats), when) for _ in range(n)]

    def add_event(
        self,
        run_id: str,
        event_type: str,
        *,
        payload: dict[str, Any] | None = None,
        step: str | None = None,
        **when: Unpack[When],
    ) -> StevoraEvent:
        """Add one event of any type and, with `created_at`, of any time.

        Without a `step` it is an event of the whole run, the status of which stays as it is.
        """
        with self.lock:
            beat = script.Beat(event_type, step, lambda _: payload or {})
            return self._tell(self.runs[run_id], beat, when, follows=False)

    def end(
        self,
        run_id: str,
        status: Literal["COMPLETED", "FAILED", "CANCELLED"] = "COMPLETED",
        **when: Unpack[When],
    ) -> list[StevoraEvent]:
        """End an open run; its last one or two events are returned.

        With `visible_at` that is when the last of them is listed; the status changes at once
        unless `announced` is false.

        Raises:
            ValueError: It is over already.
        """
        with self.lock:
            run = self.runs[run_id]
            if run.is_final:
                raise ValueError(f"run {run_id} is {run.status} already")
            when.setdefault("announced", True)
            return self._close(run, status, when)

    def retry(self, run_id: str, **when: Unpack[When]) -> list[StevoraEvent]:
        """Let a failed run go on: Stevora allows FAILED to RUNNING.

        Raises:
            ValueError: It has not failed.
        """
        with self.lock:
            run = self.runs[run_id]
            if run.status != "FAILED":
                raise ValueError(f"run {run_id} is {run.status}, only a failed one is retried")
            run.reopen()
            return self.add_events(run_id, **when)

    def delete(self, run_id: str) -> None:
        """Remove a run and its events: all its routes are 404 from now on."""
        with self.lock:
            del self.runs[run_id]

    def delete_events(self, run_id: str, n: int = 1) -> list[StevoraEvent]:
        """Remove and return the oldest `n` events of a run, as a retention period would."""
        with self.lock:
            events = self.runs[run_id].events
            deleted = events[:n]
            del events[:n]
            return deleted

    def grow(self) -> list[StevoraEvent]:
        """Let a little time pass: every open run goes on by one to three events.

        Every third time one of them ends and another one starts. Returns what was added.
        """
        with self.lock:
            self.steps_grown: int = self.steps_grown + 1
            rng = self.rng(f"growth {self.steps_grown}")
            going_on = self.open_runs
            grown = [e for run in going_on for e in self.add_events(run.id, rng.randint(1, 3))]
            if going_on and self.steps_grown % 3 == 0:
                grown += self.end(rng.choice(going_on).id)
            if not going_on or self.steps_grown % 3 == 0:
                definition_ids = list(self.definitions) or [self.add_definition().id]
                grown += self.add_run(rng.choice(definition_ids)).events
            return grown

    def _close(
        self, run: StevoraRun, status: script.StevoraStatus, when: When
    ) -> list[StevoraEvent]:
        step, is_started = run.current_step, bool(run.events)
        beats = script.closing(status, step=step, is_started=is_started)
        dated: When = {"created_at": when.get("created_at")}
        told = [self._tell(run, beat, dated) for beat in beats[:-1]]
        return told + [self._tell(run, beat, when) for beat in beats[-1:]]

    def _tell(
        self, run: StevoraRun, beat: script.Beat, when: When, *, follows: bool = True
    ) -> StevoraEvent:
        event = run.event_of(beat, *self._dates(run.rng, when))

        def notice() -> None:
            if follows:
                run.follow(beat, event)

        self._happen(when, notice=notice, show=partial(run.show, event))
        return event


def _sample_status(number: int, left_open: list[int]) -> script.StevoraStatus:
    if number in left_open:
        return _OPEN_STATUSES[left_open.index(number) % len(_OPEN_STATUSES)]
    return _FINAL_STATUSES[number % len(_FINAL_STATUSES)]
