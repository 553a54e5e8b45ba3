"""Kapso's log search: the feed of all executions' events."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from core.sandbox.asking import asking
from levada.sandbox import KapsoEvent, KapsoQuirks, KapsoServer, KapsoWorld, VirtualClock

T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)

Found = dict[str, Any]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def world() -> KapsoWorld:
    return KapsoWorld.sample(executions=8, events=10, start=T0 - timedelta(hours=1))


@pytest.fixture
def server(world: KapsoWorld, clock: VirtualClock) -> KapsoServer:
    return KapsoServer(world, now=clock, quirks=KapsoQuirks(log_search="available"))


@pytest.fixture
def client(server: KapsoServer) -> Iterator[httpx.Client]:
    with asking(server) as client:
        yield client


def search(client: httpx.Client, **params: str | int) -> Found:
    data: Found = client.get("/log_search", params=params).raise_for_status().json()["data"]
    return data


def event_ids(found: Found) -> list[str]:
    return [each["flow_event_id"] for each in found["events"]]


def newest_first(world: KapsoWorld) -> list[KapsoEvent]:
    return sorted(world.events, key=lambda event: event.key, reverse=True)


def test_a_walk_has_every_event_once_newest_first(client: httpx.Client, world: KapsoWorld) -> None:
    pages = [search(client, source="flow_event", limit=30)]
    while pages[-1]["pagination"]["has_more"]:
        cursor = pages[-1]["pagination"]["next_cursor"]
        pages.append(search(client, source="flow_event", limit=30, cursor=cursor))

    found = [id_ for page in pages for id_ in event_ids(page)]
    assert found == [event.id for event in newest_first(world)]
    assert [len(page["events"]) for page in pages] == [30, 30, 20]
    assert pages[-1]["pagination"] == {"has_more": False, "next_cursor": None}


def test_a_page_has_fifty_events_unless_told(client: httpx.Client) -> None:
    found = search(client)

    assert (found["available"], len(found["events"])) == (True, 50)
    assert found["window"] == {
        "since": "2026-04-30T12:00:00.000Z",
        "until": "2026-05-01T12:00:00.000Z",
    }


def test_a_row_leads_to_its_event(client: httpx.Client, world: KapsoWorld) -> None:
    shown = search(client, limit=1)["events"][0]

    event = newest_first(world)[0]
    [execution] = [each for each in world.executions.values() if event in each.events]
    assert shown["id"] != shown["flow_event_id"] == event.id
    assert shown["flow_execution_id"] == execution.id
    assert shown["flow_id"] == execution.workflow.id
    assert (shown["source"], shown["event_type"]) == ("flow_event", event.event_type)
    assert shown["payload"] == event.data["payload"]


def test_a_late_event_is_taken_in_late(
    client: httpx.Client, world: KapsoWorld, clock: VirtualClock
) -> None:
    execution = world.add_execution()
    late = world.add_event(execution.id, "late", created_at=T0, visible_at=T0 + 2 * SECOND)
    before = search(client)
    clock.advance(2 * SECOND)
    after = search(client)

    [shown] = [each for each in after["events"] if each["flow_event_id"] == late.id]
    assert late.id not in event_ids(before)
    assert shown["occurred_at"] == "2026-05-01T12:00:00.000Z"
    assert shown["ingested_at"] == "2026-05-01T12:00:02.000Z"


def test_the_feed_may_lag(
    client: httpx.Client, server: KapsoServer, world: KapsoWorld, clock: VirtualClock
) -> None:
    server.quirks.log_search_lag = 5 * SECOND
    execution = world.add_execution()
    event = world.add_event(execution.id, "new", created_at=T0)

    before = event_ids(search(client))
    clock.advance(5 * SECOND)

    assert event.id not in before
    assert event.id in event_ids(search(client))


@pytest.mark.parametrize(
    ("period", "hours", "is_inside"),
    [("24h", 23, True), ("24h", 25, False), ("7d", 25, True), ("7d", 8 * 24, False)],
)
def test_the_window_has_a_period(
    client: httpx.Client, clock: VirtualClock, period: str, hours: int, is_inside: bool
) -> None:
    clock.advance(timedelta(hours=hours - 1))

    assert bool(search(client, period=period)["events"]) is is_inside


def test_a_window_may_be_around_a_moment(client: httpx.Client, clock: VirtualClock) -> None:
    clock.advance(timedelta(days=30))

    found = search(client, period="context", around="2026-05-01T11:30:00Z")

    assert len(found["events"]) == 50


def test_a_post_may_have_filters(client: httpx.Client, world: KapsoWorld) -> None:
    execution = next(iter(world.executions.values()))
    body = {
        "source": "flow_event",
        "limit": 100,
        "filters": {"flow_execution_id": execution.id, "event_type": "step_entered"},
    }

    found = client.post("/log_search", json=body).raise_for_status().json()["data"]

    expected = [e.id for e in execution.events[::-1] if e.event_type == "step_entered"]
    assert event_ids(found) == expected
    assert expected


def test_problems_and_words_can_be_searched_for(client: httpx.Client, world: KapsoWorld) -> None:
    problems = search(client, problems_only="true", limit=100)["events"]
    by_word = search(client, query="Execution_Started", limit=100)["events"]

    assert {each["level"] for each in problems} == {"error"}
    assert [each["event_type"] for each in by_word] == ["execution_started"] * 8


def test_other_sources_are_empty(client: httpx.Client) -> None:
    assert search(client, source="webhook_delivery")["events"] == []


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"limit": "101"}, "limit must be between 1 and 100"),
        ({"source": "mail"}, "source must be one of"),
        ({"period": "1y"}, "period must be one of"),
        ({"period": "context"}, "around is missing"),
        ({"cursor": "x"}, "cursor is not a valid cursor"),
    ],
)
def test_values_that_cannot_be_read_are_400(
    client: httpx.Client, params: dict[str, str], error: str
) -> None:
    answer = client.get("/log_search", params=params)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


@pytest.mark.parametrize("body", ["[]", "x", '{"filters": 1}'])
def test_a_body_that_cannot_be_read_is_400(client: httpx.Client, body: str) -> None:
    assert client.post("/log_search", content=body).status_code == 400


def test_other_methods_are_not_allowed(client: httpx.Client) -> None:
    answer = client.delete("/log_search")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


def test_the_feed_may_be_unavailable(client: httpx.Client, server: KapsoServer) -> None:
    server.quirks.log_search = "unavailable"

    found = search(client)

    assert (found["available"], found["events"]) == (False, [])


def test_the_search_may_fail(client: httpx.Client, server: KapsoServer) -> None:
    server.quirks.log_search = "failing"

    answer = client.get("/log_search")

    assert answer.status_code == 422
    assert answer.json()["data"]["code"] == "elastic_search_failed"


def test_there_is_no_feed_unless_told(client: httpx.Client, server: KapsoServer) -> None:
    server.quirks.log_search = KapsoQuirks().log_search

    assert client.get("/log_search").status_code == 404
