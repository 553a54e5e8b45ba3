"""Stevora's quirks, turned on one by one."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from core.sandbox.asking import asking, number_walk, row, rows
from levada.sandbox import StevoraQuirks, StevoraRun, StevoraServer, StevoraWorld, integer_id

RUNS = "/v1/workflow-runs"
T0 = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def world() -> StevoraWorld:
    return StevoraWorld.sample(definitions=2, runs=30, events=45, open=6, start=T0)


@pytest.fixture
def server(world: StevoraWorld) -> StevoraServer:
    return StevoraServer(world)


@pytest.fixture
def client(server: StevoraServer) -> Iterator[httpx.Client]:
    with asking(server) as client:
        yield client


@pytest.fixture
def quirks(server: StevoraServer) -> StevoraQuirks:
    return server.quirks


@pytest.fixture
def run(world: StevoraWorld) -> StevoraRun:
    return next(iter(world.runs.values()))


@pytest.fixture
def events_path(run: StevoraRun) -> str:
    return f"{RUNS}/{run.id}/events"


def test_runs_are_newest_first_unless_told(client: httpx.Client, world: StevoraWorld) -> None:
    assert number_walk(client, RUNS) == list(reversed(world.runs))


def test_runs_may_be_oldest_first(
    client: httpx.Client, quirks: StevoraQuirks, world: StevoraWorld
) -> None:
    quirks.order = "oldest"

    assert number_walk(client, RUNS) == list(world.runs)


def test_runs_may_be_in_no_order_but_always_the_same(
    client: httpx.Client, quirks: StevoraQuirks, world: StevoraWorld
) -> None:
    quirks.order = "hash"

    found = number_walk(client, RUNS)

    assert sorted(found) == sorted(world.runs)
    assert found not in (list(world.runs), list(reversed(world.runs)))
    assert number_walk(client, RUNS) == found


def test_events_of_equal_time_change_places_between_requests(
    client: httpx.Client, quirks: StevoraQuirks, world: StevoraWorld
) -> None:
    run = world.add_run(events=0)
    [start] = world.add_events(run.id, created_at=T0)
    ties = world.add_events(run.id, 8, created_at=T0.replace(hour=13))
    path = f"{RUNS}/{run.id}/events"
    plain = [each["id"] for each in rows(client, path)]

    quirks.no_tie_break = True
    orders = [tuple(each["id"] for each in rows(client, path)) for _ in range(6)]

    assert plain == [start.id, *(event.id for event in ties)]
    assert len(set(orders)) > 1
    assert {order[0] for order in orders} == {start.id}
    assert {frozenset(order) for order in orders} == {frozenset(plain)}


def test_runs_of_equal_time_change_places_between_requests() -> None:
    world = StevoraWorld()
    for _ in range(8):
        world.add_run(created_at=T0)
    with asking(StevoraServer(world, quirks=StevoraQuirks(no_tie_break=True))) as client:
        orders = {tuple(each["id"] for each in rows(client, RUNS)) for _ in range(6)}

    assert len(orders) > 1


def test_the_total_is_off_at_some_requests(
    client: httpx.Client, quirks: StevoraQuirks, events_path: str
) -> None:
    quirks.total_drift = 2

    totals = [client.get(events_path).json()["meta"]["total"] for _ in range(60)]

    assert set(totals) == {43, 44, 45, 46, 47}
    assert totals.count(45) > 30


def test_a_page_beyond_the_end_may_be_404(
    client: httpx.Client, quirks: StevoraQuirks, world: StevoraWorld, events_path: str
) -> None:
    empty = world.add_run(events=0)
    quirks.strict_pages = True

    answers = [client.get(events_path, params={"page": page}) for page in (3, 4)]

    assert [answer.status_code for answer in answers] == [200, 404]
    assert answers[1].json()["error"]["code"] == "NOT_FOUND"
    assert client.get(f"{RUNS}/{empty.id}/events").status_code == 200


def test_one_request_fails_with_status_200(client: httpx.Client, quirks: StevoraQuirks) -> None:
    quirks.failing_request = 2

    answers = [client.get(RUNS) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.json()["success"] for answer in answers] == [True, False, True]
    assert answers[1].json()["error"]["code"] == "INTERNAL_ERROR"


def test_a_run_may_not_be_shown_by_itself(
    client: httpx.Client, quirks: StevoraQuirks, run: StevoraRun, events_path: str
) -> None:
    quirks.no_detail = True

    assert client.get(f"{RUNS}/{run.id}").status_code == 404
    assert client.get(events_path).status_code == 200


def test_runs_may_not_tell_their_version(client: httpx.Client, quirks: StevoraQuirks) -> None:
    plain = rows(client, RUNS)[0]
    quirks.bare_runs = True
    bare = rows(client, RUNS)[0]

    assert plain.keys() - bare.keys() == {"version", "updatedAt"}


def test_integer_ids_are_understood_as_a_filter(
    client: httpx.Client, quirks: StevoraQuirks, world: StevoraWorld
) -> None:
    quirks.integer_ids = True
    definition_id = next(iter(world.definitions))

    found = rows(client, RUNS, definitionId=integer_id(definition_id), pageSize=100)

    assert len(found) == 15
    assert {each["definitionId"] for each in found} == {integer_id(definition_id)}


def test_a_failed_run_may_be_retried_and_end_between_two_requests(
    client: httpx.Client, world: StevoraWorld
) -> None:
    run = world.add_run(events=3)
    world.end(run.id, "FAILED")
    before = row(client, f"{RUNS}/{run.id}")

    world.retry(run.id)
    world.end(run.id)
    after = row(client, f"{RUNS}/{run.id}")

    assert [before["status"], after["status"]] == ["FAILED", "COMPLETED"]
    assert after["version"] > before["version"]
    assert len(rows(client, f"{RUNS}/{run.id}/events")) == 8


def test_a_deleted_run_is_gone(
    client: httpx.Client, world: StevoraWorld, run: StevoraRun, events_path: str
) -> None:
    world.delete(run.id)

    assert client.get(events_path).status_code == 404
    assert run.id not in number_walk(client, RUNS)


def test_a_history_may_shrink(
    client: httpx.Client, world: StevoraWorld, run: StevoraRun, events_path: str
) -> None:
    before = number_walk(client, events_path)

    deleted = world.delete_events(run.id, 10)

    assert [event.id for event in deleted] == before[:10]
    assert number_walk(client, events_path) == before[10:]
