"""Events that can be seen later than they happened, and what their execution tells meanwhile."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from core.sandbox.asking import asking, row, rows
from levada.sandbox import (
    KapsoExecution,
    KapsoServer,
    KapsoWorld,
    StevoraRun,
    StevoraServer,
    StevoraWorld,
    VirtualClock,
)

SECOND = timedelta(seconds=1)
T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def project() -> KapsoWorld:
    return KapsoWorld()


@pytest.fixture
def execution(project: KapsoWorld) -> KapsoExecution:
    return project.add_execution(events=3, started_at=T0 - timedelta(minutes=1))


@pytest.fixture
def kapso(project: KapsoWorld, clock: VirtualClock) -> Iterator[httpx.Client]:
    with asking(KapsoServer(project, now=clock)) as client:
        yield client


@pytest.fixture
def workspace() -> StevoraWorld:
    return StevoraWorld()


@pytest.fixture
def run(workspace: StevoraWorld) -> StevoraRun:
    return workspace.add_run(events=3, created_at=T0 - timedelta(minutes=1))


@pytest.fixture
def stevora(workspace: StevoraWorld, clock: VirtualClock) -> Iterator[httpx.Client]:
    with asking(StevoraServer(workspace, now=clock)) as client:
        yield client


def listed(client: httpx.Client, each: KapsoExecution | StevoraRun) -> list[str]:
    place = "workflow_executions" if isinstance(each, KapsoExecution) else "v1/workflow-runs"
    return [event["id"] for event in rows(client, f"/{place}/{each.id}/events")]


def test_a_late_event_of_kapso_appears_below_what_was_read_already(
    kapso: httpx.Client, project: KapsoWorld, execution: KapsoExecution, clock: VirtualClock
) -> None:
    late = project.add_event(execution.id, "late", created_at=T0, visible_at=T0 + 2 * SECOND)
    newer = project.add_event(execution.id, "newer", created_at=T0 + SECOND)

    before = listed(kapso, execution)
    clock.advance(2 * SECOND)
    after = listed(kapso, execution)

    assert (before[0], late.id in before) == (newer.id, False)
    assert after[:2] == [newer.id, late.id]
    assert (late.created_at, late.visible_at) == (T0, T0 + 2 * SECOND)


def test_a_late_event_of_stevora_appears_between_what_was_read_already(
    stevora: httpx.Client, workspace: StevoraWorld, run: StevoraRun, clock: VirtualClock
) -> None:
    late = workspace.add_event(run.id, "LATE", created_at=T0, visible_at=T0 + 2 * SECOND)
    newer = workspace.add_event(run.id, "NEWER", created_at=T0 + SECOND)

    before = listed(stevora, run)
    clock.advance(2 * SECOND)
    after = listed(stevora, run)

    assert before[-1] == newer.id
    assert after[-2:] == [late.id, newer.id]


def test_a_late_event_below_the_newest_leaves_last_event_at_alone(
    kapso: httpx.Client, project: KapsoWorld, execution: KapsoExecution, clock: VirtualClock
) -> None:
    project.add_event(execution.id, "late", created_at=T0, visible_at=T0 + 2 * SECOND)
    project.add_event(execution.id, "newer", created_at=T0 + SECOND)
    path = f"/workflow_executions/{execution.id}"

    before = row(kapso, path)
    clock.advance(2 * SECOND)
    after = row(kapso, path)

    assert len(after["events"]) == len(before["events"]) + 1
    assert after["last_event_at"] == before["last_event_at"]


@pytest.mark.parametrize("announced", [True, False])
def test_the_row_tells_of_an_announced_event_before_it_is_listed(
    kapso: httpx.Client,
    project: KapsoWorld,
    execution: KapsoExecution,
    clock: VirtualClock,
    announced: bool,
) -> None:
    path = f"/workflow_executions/{execution.id}"
    project.add_event(
        execution.id, "late", created_at=T0, visible_at=T0 + SECOND, announced=announced
    )

    before = row(kapso, path)
    clock.advance(SECOND)
    after = row(kapso, path)

    assert (before["last_event_at"] == after["last_event_at"]) is announced
    assert [len(before["events"]), len(after["events"])] == [3, 4]


@pytest.mark.parametrize("announced", [True, False])
def test_kapso_may_show_the_end_before_the_last_event(
    kapso: httpx.Client,
    project: KapsoWorld,
    execution: KapsoExecution,
    clock: VirtualClock,
    announced: bool,
) -> None:
    path = f"/workflow_executions/{execution.id}"
    project.end(execution.id, created_at=T0, visible_at=T0 + SECOND, announced=announced)

    before = row(kapso, path)
    clock.advance(SECOND)
    after = row(kapso, path)

    status = "ended" if announced else "running"
    assert (before["status"], before["events"][-1]["event_type"]) == (status, "step_completed")
    assert (after["status"], after["events"][-1]["event_type"]) == ("ended", "execution_ended")


def test_stevora_shows_the_end_before_the_last_event(
    stevora: httpx.Client, workspace: StevoraWorld, run: StevoraRun, clock: VirtualClock
) -> None:
    _, last = workspace.end(run.id, created_at=T0, visible_at=T0 + SECOND)

    shown, before = row(stevora, f"/v1/workflow-runs/{run.id}"), listed(stevora, run)
    clock.advance(SECOND)

    assert shown["status"] == "COMPLETED"
    assert last.id not in before
    assert listed(stevora, run)[-1] == last.id


def test_ties_have_the_same_time(kapso: httpx.Client, project: KapsoWorld) -> None:
    execution = project.add_execution(events=0)
    project.add_events(execution.id, 4, created_at=T0)

    [one_time] = {
        event["created_at"] for event in rows(kapso, f"/workflow_executions/{execution.id}/events")
    }
    assert one_time == "2026-05-01T12:00:00.000Z"


def test_an_execution_may_appear_after_one_that_started_later(
    kapso: httpx.Client, project: KapsoWorld, clock: VirtualClock
) -> None:
    later = project.add_execution(started_at=T0)
    project.at(T0 + SECOND, lambda: project.add_execution(started_at=T0 - SECOND))
    path = f"/workflows/{later.workflow.id}/executions"

    before = [each["started_at"] for each in rows(kapso, path)]
    clock.advance(SECOND)
    after = [each["started_at"] for each in rows(kapso, path)]

    assert before == ["2026-05-01T12:00:00.000Z"]
    assert after == ["2026-05-01T12:00:00.000Z", "2026-05-01T11:59:59.000Z"]


def test_a_run_may_appear_after_one_that_was_created_later(
    stevora: httpx.Client, workspace: StevoraWorld, clock: VirtualClock
) -> None:
    later = workspace.add_run(created_at=T0)
    earlier = workspace.add_run(created_at=T0 - SECOND)

    assert [each["id"] for each in rows(stevora, "/v1/workflow-runs")] == [later.id, earlier.id]


def test_a_world_tells_what_could_be_seen_when(
    project: KapsoWorld, execution: KapsoExecution
) -> None:
    project.catch_up(T0)
    late = project.add_event(execution.id, "late", created_at=T0, visible_at=T0 + 2 * SECOND)
    at_once = project.add_event(execution.id, "now", created_at=T0 - SECOND)
    project.catch_up(T0 + 9 * SECOND)

    assert at_once.visible_at == T0
    assert late in project.events
    assert late not in project.events_by(T0 + SECOND)
    assert at_once in project.events_by(T0)
    assert project.events_by(T0 + 2 * SECOND) == project.events
