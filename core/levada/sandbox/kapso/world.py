"""A Kapso project that can be sampled, changed and left to grow."""

from bisect import insort
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Any, Final, Literal, Self, Unpack

from attrs import define, field

from levada.sandbox.kapso import script
from levada.sandbox.kapso.data import KapsoEvent, KapsoExecution, KapsoWorkflow, shown_steps
from levada.sandbox.world import DEFAULT_START, When, World, new_uuid, whole_milliseconds

__all__ = ["KapsoWorld"]

_BETWEEN_STARTS: Final = timedelta(seconds=30)
_KEY: Final = attrgetter("key")
_OPEN_STATUSES: Final[tuple[script.KapsoStatus, ...]] = ("running", "waiting", "handoff")


@define(kw_only=True, eq=False)
class KapsoWorld(World):
    """One Kapso project. Build it with `sample`, or empty and then `add_workflow` and so on."""

    project_id: str = field(init=False)
    workflows: dict[str, KapsoWorkflow] = field(init=False, factory=dict, repr=False)
    executions: dict[str, KapsoExecution] = field(init=False, factory=dict, repr=False)
    _executions_started: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.project_id = new_uuid(self.rng("project"))

    @classmethod
    def sample(
        cls,
        *,
        workflows: int = 2,
        executions: int = 12,
        events: int = 8,
        open: int = 3,  # noqa: A002 - the opposite of final, as everywhere in this project
        seed: int = 7,
        start: datetime = DEFAULT_START,
    ) -> Self:
        """Build a project of `executions` in all, each of exactly `events` events.

        An execution starts every 30 seconds from `start` on. `open` of them, anywhere in the
        list, are running, waiting or handed off in turn; of the others one in five has failed.

        Raises:
            ValueError: A final execution would have fewer than two events.
        """
        if events < 2 and open < executions:  # noqa: PLR2004 - its start and its end
            raise ValueError("an execution that has ended has at least two events")
        start = whole_milliseconds(start)
        world = cls(seed=seed)
        for number in range(workflows):
            world.now = start - timedelta(days=workflows - number)
            world.add_workflow()
        workflow_ids = list(world.workflows)
        left_open = sorted(world.rng("open").sample(range(executions), open))
        for number in range(executions):
            world.now = start + number * _BETWEEN_STARTS
            execution = world.add_execution(workflow_ids[number % workflows], events=0)
            status = _sample_status(number, left_open)
            world.add_events(execution.id, events - script.CLOSING_LENGTH[status])
            world._close(execution, status, {})
        world.now = max((e.last_event_at for e in world.executions.values()), default=start)
        return world

    @property
    def open_executions(self) -> list[KapsoExecution]:
        """The executions that may still go on, in the order in which they were added."""
        return [execution for execution in self.executions.values() if not execution.is_final]

    @property
    def events(self) -> list[KapsoEvent]:
        """Every visible event of the project, execution by execution, oldest first in each."""
        return [event for execution in self.executions.values() for event in execution.events]

    def events_by(self, moment: datetime) -> list[KapsoEvent]:
        """Return those of `events` that were visible at a moment already."""
        return [event for event in self.events if event.visible_at <= moment]

    def add_workflow(
        self, name: str | None = None, *, created_at: datetime | None = None
    ) -> KapsoWorkflow:
        """Create an active workflow."""
        with self.lock:
            number = len(self.workflows) + 1
            rng = self.rng(f"workflow {number}")
            name = name or f"Support flow {number}"
            workflow = KapsoWorkflow(
                id=new_uuid(rng),
                name=name,
                slug=name.lower().replace(" ", "-"),
                created_at=self._dates(rng, {"created_at": created_at})[0],
                steps=shown_steps(rng),
            )
            self.workflows[workflow.id] = workflow
            return workflow

    def add_execution(
        self,
        workflow_id: str | None = None,
        *,
        events: int = 1,
        started_at: datetime | None = None,
    ) -> KapsoExecution:
        """Start an execution with its first `events`.

        Without an id it is one of the first workflow, which is created if need be. It may have
        started at any time, also before others that are there already.
        """
        with self.lock:
            first = next(iter(self.workflows), None) or self.add_workflow().id
            self._executions_started: int = self._executions_started + 1
            rng = self.rng(f"execution {self._executions_started}")
            started_at, _ = self._dates(rng, {"created_at": started_at})
            execution = KapsoExecution(
                id=new_uuid(rng),
                workflow=self.workflows[workflow_id or first],
                started_at=started_at,
                last_event_at=started_at,
                tracking_id=new_uuid(rng),
                whatsapp_conversation_id=new_uuid(rng),
                rng=rng,
                beats=script.beats(rng),
            )
            insort(execution.workflow.executions, execution, key=_KEY)
            self.executions[execution.id] = execution
            self.add_events(execution.id, events)
            return execution

    def add_events(self, execution_id: str, n: int = 1, **when: Unpack[When]) -> list[KapsoEvent]:
        """Continue an execution by `n` events; a final one stays final.

        With `created_at` all have that time.
        """
        with self.lock:
            execution = self.executions[execution_id]
            return [self._tell(execution, next(execution.beats), when) for _ in range(n)]

    def add_event(
        self,
        execution_id: str,
        event_type: str,
        *,
        payload: dict[str, Any] | None = None,
        step: str | None = None,
        **when: Unpack[When],
    ) -> KapsoEvent:
        """Add one event of any type and, with `created_at`, of any time.

        `step` is one of the workflow's; None makes it an event of the whole execution, the status
        of which stays as it is.
        """
        with self.lock:
            execution = self.executions[execution_id]
            beat = script.Beat(event_type, step, lambda _: payload or {})
            return self._tell(execution, beat, when, follows=False)

    def hand_off(self, execution_id: str, **when: Unpack[When]) -> list[KapsoEvent]:
        """Hand an open execution over to a person; its next event takes it back.

        Raises:
            ValueError: It is final already.
        """
        with self.lock:
            return self._close(self._open(execution_id), "handoff", when)

    def end(
        self,
        execution_id: str,
        status: Literal["ended", "failed"] = "ended",
        **when: Unpack[When],
    ) -> list[KapsoEvent]:
        """End an open execution; its last two events are returned.

        With `visible_at` that is when the last of them is listed; the status changes at once
        unless `announced` is false.

        Raises:
            ValueError: It is final already.
        """
        with self.lock:
            when.setdefault("announced", True)
            return self._close(self._open(execution_id), status, when)

    def delete(self, execution_id: str) -> None:
        """Remove an execution and its events: all its routes are 404 from now on."""
        with self.lock:
            execution = self.executions.pop(execution_id)
            execution.workflow.executions.remove(execution)

    def grow(self) -> list[KapsoEvent]:
        """Let a little time pass: every open execution goes on by one to three events.

        Every third time one of them ends and another one starts. Returns what was added.
        """
        with self.lock:
            self.steps_grown: int = self.steps_grown + 1
            rng = self.rng(f"growth {self.steps_grown}")
            going_on = self.open_executions
            grown = [e for x in going_on for e in self.add_events(x.id, rng.randint(1, 3))]
            if going_on and self.steps_grown % 3 == 0:
                grown += self.end(rng.choice(going_on).id)
            if not going_on or self.steps_grown % 3 == 0:
                workflow_ids = list(self.workflows) or [self.add_workflow().id]
                grown += self.add_execution(rng.choice(workflow_ids)).events
            return grown

    def _open(self, execution_id: str) -> KapsoExecution:
        execution = self.executions[execution_id]
        if execution.is_final:
            raise ValueError(f"execution {execution_id} is {execution.status} already")
        return execution

    def _close(
        self, execution: KapsoExecution, status: script.KapsoStatus, when: When
    ) -> list[KapsoEvent]:
        step, is_started = execution.current_step, bool(execution.events)
        beats = script.closing(status, step=step, is_started=is_started)
        dated: When = {"created_at": when.get("created_at")}
        told = [self._tell(execution, beat, dated) for beat in beats[:-1]]
        return told + [self._tell(execution, beat, when) for beat in beats[-1:]]

    def _tell(
        self, execution: KapsoExecution, beat: script.Beat, when: When, *, follows: bool = True
    ) -> KapsoEvent:
        created_at, visible_at = self._dates(execution.rng, when)
        event = execution.event_of(beat, created_at, visible_at)

        def notice() -> None:
            execution.move(event, at=self.present or created_at)
            if follows:
                execution.follow(beat, event)

        self._happen(when, notice=notice, show=partial(execution.show, event))
        return event


def _sample_status(number: int, left_open: list[int]) -> script.KapsoStatus:
    if number in left_open:
        return _OPEN_STATUSES[left_open.index(number) % len(_OPEN_STATUSES)]
    return "failed" if number % 5 == 4 else "ended"  # noqa: PLR2004 - the last of every five
