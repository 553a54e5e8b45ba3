"""Kapso's quirks, turned on one by one."""

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from core.sandbox.asking import asking, cursor_walk, flat, row, rows
from levada.sandbox import (
    KapsoExecution,
    KapsoQuirks,
    KapsoServer,
    KapsoWorld,
    VirtualClock,
    integer_id,
)

SECOND = timedelta(seconds=1)
T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def world() -> KapsoWorld:
    return KapsoWorld.sample(workflows=1, executions=30, events=45, start=T0 - timedelta(hours=1))


@pytest.fixture
def server(world: KapsoWorld, clock: VirtualClock) -> KapsoServer:
    return KapsoServer(world, now=clock)


@pytest.fixture
def client(server: KapsoServer) -> Iterator[httpx.Client]:
    with asking(server) as client:
        yield client


@pytest.fixture
def quirks(server: KapsoServer) -> KapsoQuirks:
    return server.quirks


@pytest.fixture
def execution(world: KapsoWorld) -> KapsoExecution:
    return next(iter(world.executions.values()))


@pytest.fixture
def detail_path(execution: KapsoExecution) -> str:
    return f"/workflow_executions/{execution.id}"


@pytest.fixture
def events_path(detail_path: str) -> str:
    return f"{detail_path}/events"


@pytest.fixture
def executions_path(world: KapsoWorld) -> str:
    return f"/workflows/{next(iter(world.workflows))}/executions"


# ── cursors ─────────────────────────────────────────────────────────────────────────────────────


def test_a_cursor_may_hold_a_time_alone(
    client: httpx.Client, quirks: KapsoQuirks, events_path: str
) -> None:
    quirks.timestamp_cursors = True

    following = client.get(events_path, params={"limit": 1}).json()["paging"]["next"]

    decoded = base64.b64decode(following).decode()
    time = r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"'
    assert re.fullmatch(rf'{{"version":1,"values":\[{time}\]}}', decoded)


def test_ties_are_skipped_between_pages_without_an_id_in_the_cursor(
    client: httpx.Client, quirks: KapsoQuirks, world: KapsoWorld
) -> None:
    execution = world.add_execution(events=0)
    ties = [event.id for event in world.add_events(execution.id, 6, created_at=T0)]
    path = f"/workflow_executions/{execution.id}/events"
    assert sorted(flat(cursor_walk(client, path, limit=4))) == sorted(ties)

    quirks.timestamp_cursors = True

    assert [len(page) for page in cursor_walk(client, path, limit=4)] == [4, 0]


def test_a_time_alone_bounds_from_below_too(
    client: httpx.Client, quirks: KapsoQuirks, world: KapsoWorld
) -> None:
    execution = world.add_execution(events=0)
    world.add_events(execution.id, 3, created_at=T0)
    [newer] = world.add_events(execution.id, created_at=T0 + SECOND)
    quirks.timestamp_cursors = True
    path = f"/workflow_executions/{execution.id}/events"

    before = base64.b64encode(b'{"version":1,"values":["2026-05-01T12:00:00Z"]}').decode()

    assert [each["id"] for each in rows(client, path, before=before)] == [newer.id]


def test_cursors_expire(client: httpx.Client, quirks: KapsoQuirks, events_path: str) -> None:
    following = client.get(events_path).json()["paging"]["next"]

    quirks.expired_cursors = True
    answer = client.get(events_path, params={"after": following})

    assert (answer.status_code, answer.json()) == (400, {"error": "after is not a valid cursor"})
    assert client.get(events_path).status_code == 200


def test_next_repeats_itself_for_ever(
    client: httpx.Client, quirks: KapsoQuirks, events_path: str
) -> None:
    quirks.repeated_cursor = True
    first = client.get(events_path).json()

    for _ in range(3):
        again = client.get(events_path, params={"after": first["paging"]["next"]}).json()
        assert again["paging"]["next"] == first["paging"]["next"]
        assert again["data"] != first["data"]


def test_next_may_be_a_url(
    client: httpx.Client, quirks: KapsoQuirks, execution: KapsoExecution, events_path: str
) -> None:
    quirks.next_urls = True
    first = client.get(events_path, params={"limit": 40}).json()

    assert first["paging"]["next"].startswith("http://127.0.0.1:")
    second = client.get(first["paging"]["next"]).json()
    found = [each["id"] for each in (*first["data"], *second["data"])]
    assert found == [event.id for event in reversed(execution.events)]
    assert second["paging"]["next"] is None
    assert client.get(second["paging"]["previous"]).json()["data"] == first["data"]


# ── pages ───────────────────────────────────────────────────────────────────────────────────────


def test_a_short_page_is_not_the_last_one(
    client: httpx.Client, quirks: KapsoQuirks, execution: KapsoExecution, events_path: str
) -> None:
    quirks.page_cap = 20

    pages = cursor_walk(client, events_path, limit=100)

    assert [len(page) for page in pages] == [20, 20, 5]
    assert flat(pages) == [event.id for event in reversed(execution.events)]


def test_a_page_may_be_larger_than_its_limit(
    client: httpx.Client, quirks: KapsoQuirks, execution: KapsoExecution, events_path: str
) -> None:
    quirks.extra_rows = 3

    pages = cursor_walk(client, events_path, limit=20)

    assert [len(page) for page in pages] == [23, 22]
    assert flat(pages) == [event.id for event in reversed(execution.events)]


def test_without_a_limit_a_list_may_be_paged_by_number(
    client: httpx.Client, quirks: KapsoQuirks, execution: KapsoExecution, events_path: str
) -> None:
    quirks.meta_paging = "without_limit"

    answers = [client.get(events_path, params={"page": page}) for page in (1, 2, 3)]

    assert answers[1].json()["meta"] == {
        "page": 2,
        "per_page": 20,
        "total_pages": 3,
        "total_count": 45,
    }
    assert answers[1].headers["X-Total"] == "45"
    assert "paging" not in answers[0].json()
    found = [each["id"] for answer in answers for each in answer.json()["data"]]
    assert found == [event.id for event in reversed(execution.events)]
    assert "paging" in client.get(events_path, params={"limit": 20}).json()


def test_a_list_may_be_paged_by_number_whatever_is_asked(
    client: httpx.Client, quirks: KapsoQuirks, executions_path: str
) -> None:
    quirks.meta_paging = "always"

    page = client.get(executions_path, params={"limit": 8, "page": 4}).json()

    assert page["meta"] == {"page": 4, "per_page": 8, "total_pages": 4, "total_count": 30}
    assert len(page["data"]) == 6


# ── routes and rows ─────────────────────────────────────────────────────────────────────────────


def test_an_execution_may_not_be_shown_by_itself(
    client: httpx.Client, quirks: KapsoQuirks, detail_path: str
) -> None:
    quirks.no_detail = True

    assert client.get(detail_path).status_code == 404
    assert client.get(f"{detail_path}/events").status_code == 200


def test_workflows_may_not_be_listed(
    client: httpx.Client, quirks: KapsoQuirks, executions_path: str
) -> None:
    quirks.no_workflows = True

    assert client.get("/workflows").status_code == 404
    assert client.get(executions_path).status_code == 200


def test_a_history_may_be_capped_to_its_newest_events(
    client: httpx.Client, quirks: KapsoQuirks, execution: KapsoExecution, detail_path: str
) -> None:
    quirks.detail_newest = 10

    shown = [event["id"] for event in row(client, detail_path)["events"]]

    assert shown == [event.id for event in execution.events[-10:]]


def test_a_history_may_be_capped_to_its_oldest_events(
    client: httpx.Client, quirks: KapsoQuirks, execution: KapsoExecution, detail_path: str
) -> None:
    quirks.detail_oldest = 10

    shown = [event["id"] for event in row(client, detail_path)["events"]]

    assert shown == [event.id for event in execution.events[:10]]


def test_a_context_may_have_ten_megabytes(
    client: httpx.Client, quirks: KapsoQuirks, detail_path: str
) -> None:
    quirks.context_bytes = 10_000_000

    answer = client.get(detail_path)

    assert len(answer.content) > 10_000_000
    assert len(answer.json()["data"]["events"]) == 45


def test_workflows_may_not_tell_what_they_executed(
    client: httpx.Client, quirks: KapsoQuirks
) -> None:
    [plain] = rows(client, "/workflows")
    quirks.bare_workflows = True
    [bare] = rows(client, "/workflows")

    assert plain.keys() - bare.keys() == {"execution_count", "last_executed_at"}


def test_executions_in_the_list_may_have_no_status(
    client: httpx.Client, quirks: KapsoQuirks, executions_path: str, detail_path: str
) -> None:
    quirks.no_status = True

    assert not [each for each in rows(client, executions_path) if "status" in each]
    assert "status" in row(client, detail_path)


def test_last_event_at_may_lag(
    client: httpx.Client,
    quirks: KapsoQuirks,
    world: KapsoWorld,
    clock: VirtualClock,
    executions_path: str,
) -> None:
    quirks.last_event_at_lag = 30 * SECOND
    execution = world.add_execution(events=0, started_at=T0)
    for number in (1, 2):
        world.at(
            T0 + number * 20 * SECOND,
            lambda: world.add_event(execution.id, "one_more"),
        )

    seen = []
    for _ in range(8):
        newest, *_ = rows(client, executions_path)
        seen.append(newest["last_event_at"][17:19])
        clock.advance(10 * SECOND)

    assert seen == ["00", "00", "00", "00", "00", "20", "20", "40"]


def test_ids_of_steps_and_workflows_are_integers_too(
    client: httpx.Client, quirks: KapsoQuirks, world: KapsoWorld, execution: KapsoExecution
) -> None:
    quirks.integer_ids = True

    shown = row(client, f"/workflow_executions/{integer_id(execution.id)}")

    assert shown["workflow"]["id"] == integer_id(execution.workflow.id)
    steps = [event["step"]["id"] for event in shown["events"] if "step" in event]
    assert {type(step) for step in steps} == {int}


# ── deletion ────────────────────────────────────────────────────────────────────────────────────


def test_a_deleted_execution_is_404_in_the_middle_of_a_walk(
    client: httpx.Client, world: KapsoWorld, execution: KapsoExecution, events_path: str
) -> None:
    following = client.get(events_path).json()["paging"]["next"]

    world.delete(execution.id)

    assert client.get(events_path, params={"after": following}).status_code == 404
    assert client.get(f"/workflow_executions/{execution.id}").status_code == 404


def test_a_deleted_execution_is_gone_from_the_lists(
    client: httpx.Client, world: KapsoWorld, execution: KapsoExecution, executions_path: str
) -> None:
    pages = cursor_walk(client, executions_path, limit=10)

    world.delete(execution.id)

    assert flat(cursor_walk(client, executions_path, limit=10)) == flat(pages)[:-1]
    assert rows(client, "/workflows")[0]["execution_count"] == 29
    assert not [event for event in world.events if event in execution.events]


def test_what_is_planned_for_a_deleted_execution_harms_nobody(
    client: httpx.Client, world: KapsoWorld, clock: VirtualClock, execution: KapsoExecution
) -> None:
    world.add_event(execution.id, "late", created_at=T0, visible_at=T0 + SECOND)
    world.delete(execution.id)
    clock.advance(SECOND)

    assert client.get("/workflows").status_code == 200


def test_a_new_execution_is_never_taken_for_a_deleted_one(world: KapsoWorld) -> None:
    first, second = world.add_execution(), world.add_execution()
    world.delete(first.id)

    assert world.add_execution().id not in {first.id, second.id}
