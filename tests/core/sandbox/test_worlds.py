"""The vendors' worlds: deterministic, of the asked size, growing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from levada.sandbox import KapsoExecution, KapsoWorld, StevoraRun, StevoraWorld

START = datetime(2026, 5, 1, 12, tzinfo=UTC)


def kapso_facts(world: KapsoWorld) -> list[Any]:
    executions = [(e.id, e.status, e.last_event_at) for e in world.executions.values()]
    return [world.project_id, world.now, executions, [event.json for event in world.events]]


def stevora_facts(world: StevoraWorld) -> list[Any]:
    runs = [(r.id, r.status, r.version, r.updated_at) for r in world.runs.values()]
    return [world.workspace_id, world.now, runs, [event.json for event in world.events]]


def types_of(execution: KapsoExecution | StevoraRun) -> list[str]:
    return [event.event_type for event in execution.events]


def test_the_same_seed_makes_the_same_kapso() -> None:
    one, two, other = (KapsoWorld.sample(seed=seed, start=START) for seed in (1, 1, 2))
    for world in (one, two, other):
        for _ in range(7):
            world.grow()

    assert kapso_facts(one) == kapso_facts(two)
    assert kapso_facts(one) != kapso_facts(other)


def test_the_same_seed_makes_the_same_stevora() -> None:
    one, two, other = (StevoraWorld.sample(seed=seed, start=START) for seed in (1, 1, 2))
    for world in (one, two, other):
        for _ in range(7):
            world.grow()

    assert stevora_facts(one) == stevora_facts(two)
    assert stevora_facts(one) != stevora_facts(other)


@pytest.mark.parametrize("events", [2, 3, 8, 50])
def test_every_sampled_execution_has_exactly_the_asked_events(events: int) -> None:
    world = KapsoWorld.sample(workflows=3, executions=20, events=events, open=6, start=START)

    assert {len(e.events) for e in world.executions.values()} == {events}
    assert len(world.open_executions) == 6
    assert {e.status for e in world.open_executions} == {"running", "waiting", "handoff"}
    assert [len(w.executions) for w in world.workflows.values()] == [7, 7, 6]
    assert {types_of(e)[0] for e in world.executions.values()} == {"execution_started"}


@pytest.mark.parametrize("events", [2, 3, 8, 50])
def test_every_sampled_run_has_exactly_the_asked_events(events: int) -> None:
    world = StevoraWorld.sample(definitions=3, runs=20, events=events, open=6, start=START)

    assert {len(run.events) for run in world.runs.values()} == {events}
    assert len(world.open_runs) == 6
    assert {run.status for run in world.open_runs} == {"RUNNING", "WAITING", "PAUSED"}
    assert {types_of(run)[0] for run in world.runs.values()} == {"WORKFLOW_STARTED"}


@pytest.mark.parametrize("world", [KapsoWorld, StevoraWorld])
def test_a_finished_execution_needs_two_events(
    world: type[KapsoWorld] | type[StevoraWorld],
) -> None:
    with pytest.raises(ValueError, match="at least two events"):
        world.sample(events=1)

    assert len(world.sample(events=1, open=12).events) == 12


def test_final_statuses_match_the_last_event_of_an_execution() -> None:
    world = KapsoWorld.sample(executions=20, events=12, open=0)

    last = {(e.status, types_of(e)[-1]) for e in world.executions.values()}

    assert last == {("ended", "execution_ended"), ("failed", "execution_failed")}
    assert all(e.ended_at == e.last_event_at for e in world.executions.values())


def test_final_statuses_match_the_last_event_of_a_run() -> None:
    world = StevoraWorld.sample(runs=20, events=12, open=0)

    last = {(run.status, types_of(run)[-1]) for run in world.runs.values()}

    assert last == {
        ("COMPLETED", "WORKFLOW_COMPLETED"),
        ("FAILED", "WORKFLOW_FAILED"),
        ("CANCELLED", "WORKFLOW_CANCELLED"),
    }


def test_a_long_kapso_history_has_every_documented_event_type() -> None:
    world = KapsoWorld.sample(executions=5, events=200, open=1)

    assert {event.event_type for event in world.events} == {
        *("execution_started", "execution_ended", "execution_failed"),
        *("step_entered", "step_completed", "step_failed"),
        *("decision_evaluating", "decision_evaluated"),
        *("action_preparing", "action_executing", "action_performed", "action_failed"),
        *("variables_set", "variables_merged"),
        *("wait_timeout", "user_input_received"),
        *("agent_iteration_started", "agent_tool_called", "agent_message_sent"),
    }


def test_a_long_stevora_history_has_every_documented_event_type() -> None:
    world = StevoraWorld.sample(runs=10, events=200, open=1)

    assert {event.event_type for event in world.events} == {
        *("WORKFLOW_STARTED", "WORKFLOW_COMPLETED", "WORKFLOW_FAILED", "WORKFLOW_CANCELLED"),
        *("STEP_STARTED", "STEP_COMPLETED", "STEP_FAILED", "STEP_RETRYING"),
        *("LLM_CALL_STARTED", "LLM_CALL_COMPLETED", "LLM_CALL_FAILED"),
        *("LLM_FALLBACK_TRIGGERED", "GUARDRAIL_TRIGGERED", "TOOL_CALL_EXECUTED"),
        *("APPROVAL_REQUESTED", "APPROVAL_DECIDED"),
        *("SIGNAL_RECEIVED", "WORKFLOW_PAUSED"),
    }


def test_times_strictly_increase_within_an_execution() -> None:
    world = KapsoWorld.sample(events=60)
    before = world.now

    added = [event for _ in range(10) for event in world.grow()]

    for execution in world.executions.values():
        times = [event.created_at for event in execution.events]
        assert times == sorted(set(times))
    assert min(event.created_at for event in added) > before


def test_growing_goes_on_ends_and_starts() -> None:
    world = KapsoWorld.sample(open=3)
    executions, events = len(world.executions), len(world.events)

    added = [world.grow() for _ in range(3)]

    assert all(added)
    assert len(world.events) == events + sum(map(len, added))
    assert len(world.executions) == executions + 1
    assert len(world.open_executions) == 3


def test_growing_starts_a_run_where_all_are_over() -> None:
    world = StevoraWorld.sample(open=0)

    [event] = world.grow()

    assert event.event_type == "WORKFLOW_STARTED"
    assert len(world.open_runs) == 1


def test_an_execution_ends_once() -> None:
    world = KapsoWorld.sample()
    execution = world.add_execution(events=3)

    last = world.end(execution.id, "failed")

    assert [event.event_type for event in last] == ["step_failed", "execution_failed"]
    assert (execution.status, execution.ended_at) == ("failed", last[-1].created_at)
    with pytest.raises(ValueError, match="is failed already"):
        world.end(execution.id)


def test_a_final_execution_stays_final_when_events_follow() -> None:
    world = KapsoWorld.sample(open=0)
    execution = next(iter(world.executions.values()))
    status = execution.status

    world.add_events(execution.id, 5)

    assert (execution.status, len(execution.events)) == (status, 13)


def test_a_run_ends_once() -> None:
    world = StevoraWorld.sample()
    run = world.add_run(events=2)

    last = world.end(run.id, "FAILED")

    assert [event.event_type for event in last] == ["STEP_FAILED", "WORKFLOW_FAILED"]
    assert (run.status, run.ended_at) == ("FAILED", last[-1].created_at)
    with pytest.raises(ValueError, match="is FAILED already"):
        world.end(run.id)


@pytest.mark.parametrize("world", [KapsoWorld(), StevoraWorld()], ids=["kapso", "stevora"])
def test_an_empty_world_begins_to_grow(world: KapsoWorld | StevoraWorld) -> None:
    assert len(world.grow()) == 1
    assert len(world.events) == 1


def test_an_event_of_a_run_is_put_in_its_place() -> None:
    world = StevoraWorld.sample()
    run = world.add_run(events=4)
    tied = run.events[1].created_at

    event = world.add_event(run.id, "BRAND_NEW", payload={"a": 1}, created_at=tied)

    assert run.events.index(event) == 2
    assert (event.data["payload"], event.data["stepRunId"]) == ({"a": 1}, None)


def test_an_event_of_an_execution_is_put_in_its_place() -> None:
    world = KapsoWorld.sample()
    execution = world.add_execution(events=4)
    last_event_at = execution.last_event_at
    late = execution.events[1].created_at + timedelta(microseconds=1)

    event = world.add_event(execution.id, "brand_new", payload={"a": 1}, created_at=late)

    assert execution.events.index(event) == 2
    assert execution.last_event_at == last_event_at
    assert event.data["payload"] == {"a": 1}


def test_a_run_without_events_is_pending() -> None:
    world = StevoraWorld.sample()

    run = world.add_run(events=0)

    assert (run.status, run.started_at, run.version) == ("PENDING", None, 1)


def test_llm_events_do_not_touch_the_run() -> None:
    world = StevoraWorld.sample()
    run = world.add_run(events=4)
    before = (run.version, run.updated_at)

    [event] = world.add_events(run.id)

    assert event.event_type == "LLM_CALL_STARTED"
    assert (run.version, run.updated_at) == before


def test_a_failed_run_can_be_retried() -> None:
    world = StevoraWorld.sample()
    run = world.add_run(events=3)
    world.end(run.id, "FAILED")
    version = run.version

    world.retry(run.id)

    assert run.status == "RUNNING"
    assert run.version > version
    with pytest.raises(ValueError, match="only a failed one"):
        world.retry(run.id)
