"""The Stevora API, asked over real sockets."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from levada.sandbox import StevoraRun, StevoraServer, StevoraWorld, run_in_thread


@pytest.fixture
def world() -> StevoraWorld:
    return StevoraWorld.sample(definitions=2, runs=30, events=45, open=6)


@pytest.fixture
def stevora(world: StevoraWorld) -> Iterator[StevoraServer]:
    with run_in_thread(StevoraServer(world)) as server:
        yield server


@pytest.fixture
def client(stevora: StevoraServer) -> Iterator[httpx.Client]:
    headers = {"x-api-key": stevora.api_key}
    with httpx.Client(base_url=stevora.base_url, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def run(world: StevoraWorld) -> StevoraRun:
    return next(iter(world.runs.values()))


@pytest.fixture
def events_path(run: StevoraRun) -> str:
    return f"/v1/workflow-runs/{run.id}/events"


def walk(client: httpx.Client, path: str, **params: str | int) -> list[str]:
    """Return the ids of every page, first to last."""
    pages = client.get(path, params=params).json()["meta"]["totalPages"]
    answers = (client.get(path, params={**params, "page": n + 1}) for n in range(pages))
    return [row["id"] for answer in answers for row in answer.json()["data"]]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "Missing x-api-key header"),
        ({"x-api-key": "wrong"}, "Invalid or revoked API key"),
    ],
    ids=["missing", "wrong"],
)
def test_a_request_without_the_key_is_401(
    stevora: StevoraServer, headers: dict[str, str], message: str
) -> None:
    url = f"{stevora.base_url}/v1/workflow-runs"
    answer = httpx.get(url, headers=headers, trust_env=False)

    error = {"code": "AUTH_ERROR", "message": message, "details": {}}
    assert (answer.status_code, answer.json()) == (401, {"success": False, "error": error})


def test_the_health_check_needs_no_key(stevora: StevoraServer) -> None:
    answer = httpx.get(f"{stevora.base_url}/health", trust_env=False)

    assert answer.json() == {"status": "ok", "checks": {"database": "ok", "queue": "ok"}}


@pytest.mark.parametrize("page_size", [1, 7, 44, 45, 100])
def test_a_walk_has_every_event_once_oldest_first(
    client: httpx.Client, run: StevoraRun, events_path: str, page_size: int
) -> None:
    found = walk(client, events_path, pageSize=page_size)

    assert found == [event.id for event in run.events]


def test_the_last_page_fills_up(
    client: httpx.Client, world: StevoraWorld, run: StevoraRun, events_path: str
) -> None:
    params = {"page": 3, "pageSize": 20}
    before = client.get(events_path, params=params).json()

    world.add_events(run.id, 4)
    after = client.get(events_path, params=params).json()

    assert (len(before["data"]), len(after["data"])) == (5, 9)
    assert after["data"][:5] == before["data"]
    assert after["meta"] == {"page": 3, "pageSize": 20, "total": 49, "totalPages": 3}


def test_a_page_has_twenty_rows_unless_told(client: httpx.Client, events_path: str) -> None:
    page = client.get(events_path).json()

    assert len(page["data"]) == 20
    assert page["meta"] == {"page": 1, "pageSize": 20, "total": 45, "totalPages": 3}


def test_a_page_beyond_the_end_is_empty(client: httpx.Client, events_path: str) -> None:
    page = client.get(events_path, params={"page": 99}).json()

    assert page["data"] == []
    assert page["meta"] == {"page": 99, "pageSize": 20, "total": 45, "totalPages": 3}


@pytest.mark.parametrize(
    ("params", "details"),
    [
        ({"page": "0"}, {"page": "must be an integer of at least 1"}),
        ({"page": "two"}, {"page": "must be an integer of at least 1"}),
        ({"page": "9" * 5000}, {"page": "must be an integer of at least 1"}),
        ({"pageSize": "0"}, {"pageSize": "must be an integer of at least 1"}),
        ({"pageSize": "101"}, {"pageSize": "must be at most 100"}),
    ],
)
def test_values_that_cannot_be_read_are_400(
    client: httpx.Client, events_path: str, params: dict[str, str], details: dict[str, str]
) -> None:
    answer = client.get(events_path, params=params)

    message = "Invalid query parameters"
    error = {"code": "VALIDATION_ERROR", "message": message, "details": details}
    assert (answer.status_code, answer.json()) == (400, {"success": False, "error": error})


def test_a_walk_has_every_run_newest_first(client: httpx.Client, world: StevoraWorld) -> None:
    found = walk(client, "/v1/workflow-runs", pageSize=7)

    assert found == list(reversed(world.runs))


@pytest.mark.parametrize(
    "status", ["RUNNING", "WAITING", "PAUSED", "PENDING", "COMPLETED", "FAILED", "CANCELLED"]
)
def test_runs_are_filtered_by_status(
    client: httpx.Client, world: StevoraWorld, status: str
) -> None:
    world.add_run(events=0)

    found = walk(client, "/v1/workflow-runs", status=status)

    assert found == [r.id for r in reversed(world.runs.values()) if r.status == status]
    assert found


def test_runs_are_filtered_by_definition(client: httpx.Client, world: StevoraWorld) -> None:
    definition_id = next(iter(world.definitions))

    found = walk(client, "/v1/workflow-runs", definitionId=definition_id)

    assert found == [
        run.id for run in reversed(world.runs.values()) if run.definition.id == definition_id
    ]


def test_an_unknown_status_is_400(client: httpx.Client) -> None:
    answer = client.get("/v1/workflow-runs", params={"status": "running"})

    assert answer.status_code == 400
    assert list(answer.json()["error"]["details"]) == ["status"]


def test_a_run_shows_its_steps_in_order(client: httpx.Client, run: StevoraRun) -> None:
    detail: dict[str, Any] = client.get(f"/v1/workflow-runs/{run.id}").json()["data"]

    started = [event.data for event in run.events if event.event_type == "STEP_STARTED"]
    assert [row["id"] for row in detail["stepRuns"]] == [event["stepRunId"] for event in started]
    assert [row["stepName"] for row in detail["stepRuns"]] == [
        event["payload"]["stepName"] for event in started
    ]


@pytest.mark.parametrize(
    "path", ["/v1/workflow-runs/unknown", "/v1/workflow-runs/unknown/events", "/v1/unknown", "/"]
)
def test_what_does_not_exist_is_404(client: httpx.Client, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", ["/health", "/v1/workflow-runs"])
def test_writing_is_not_allowed(client: httpx.Client, path: str) -> None:
    answer = client.delete(path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
