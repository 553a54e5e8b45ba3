"""The Kapso API, asked over real sockets."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from levada.sandbox import KapsoExecution, KapsoServer, KapsoWorld, RateLimit, run_in_thread

Page = dict[str, Any]


@pytest.fixture
def world() -> KapsoWorld:
    return KapsoWorld.sample(workflows=2, executions=30, events=45, open=6)


@pytest.fixture
def kapso(world: KapsoWorld) -> Iterator[KapsoServer]:
    with run_in_thread(KapsoServer(world)) as server:
        yield server


@pytest.fixture
def client(kapso: KapsoServer) -> Iterator[httpx.Client]:
    headers = {"X-API-Key": kapso.api_key}
    with httpx.Client(base_url=kapso.base_url, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def execution(world: KapsoWorld) -> KapsoExecution:
    return next(iter(world.executions.values()))


@pytest.fixture
def events_path(execution: KapsoExecution) -> str:
    return f"/workflow_executions/{execution.id}/events"


@pytest.fixture
def executions_path(world: KapsoWorld) -> str:
    return f"/workflows/{next(iter(world.workflows))}/executions"


def walk(client: httpx.Client, path: str, **params: str | int) -> list[Page]:
    """Follow `next` from the first page to the last."""
    pages: list[Page] = [client.get(path, params=params).json()]
    while (after := pages[-1]["paging"]["next"]) is not None:
        pages.append(client.get(path, params={**params, "after": after}).json())
    return pages


def ids(pages: list[Page]) -> list[str]:
    return [row["id"] for page in pages for row in page["data"]]


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}], ids=["missing", "wrong"])
def test_a_request_without_the_key_is_401(kapso: KapsoServer, headers: dict[str, str]) -> None:
    answer = httpx.get(f"{kapso.base_url}/workflows", headers=headers, trust_env=False)

    assert answer.status_code == 401
    assert answer.json() == {"error": "Missing or invalid API key"}


@pytest.mark.parametrize("limit", [1, 7, 44, 45, 100])
def test_a_walk_has_every_event_once_newest_first(
    client: httpx.Client, execution: KapsoExecution, events_path: str, limit: int
) -> None:
    pages = walk(client, events_path, limit=limit)

    assert ids(pages) == [event.id for event in reversed(execution.events)]
    assert all(len(page["data"]) <= limit for page in pages)


def test_a_page_has_twenty_rows_unless_told(client: httpx.Client, events_path: str) -> None:
    page = client.get(events_path).json()

    assert len(page["data"]) == 20


def test_only_next_and_previous_tell_where_a_list_goes_on(
    client: httpx.Client, events_path: str
) -> None:
    first, middle, last = (page["paging"] for page in walk(client, events_path, limit=20))

    assert first["previous"] is None
    assert first["next"] == first["cursors"]["after"]
    assert middle["previous"] == middle["cursors"]["before"]
    assert last["next"] is None
    assert None not in last["cursors"].values()


def test_an_empty_page_has_no_cursors(client: httpx.Client, events_path: str) -> None:
    page = client.get(events_path, params={"event_type": "never_seen"}).json()

    nothing = {"cursors": {"before": None, "after": None}, "next": None, "previous": None}
    assert page == {"data": [], "paging": nothing}


def test_before_leads_back_to_the_newer_page(client: httpx.Client, events_path: str) -> None:
    first, second, _ = walk(client, events_path, limit=20)

    back = client.get(events_path, params={"limit": 20, "before": second["paging"]["previous"]})

    assert ids([back.json()]) == ids([first])
    assert back.json()["paging"]["previous"] is None
    assert back.json()["paging"]["next"] == first["paging"]["next"]


def test_events_added_meanwhile_do_not_shift_a_walk(
    client: httpx.Client, world: KapsoWorld, execution: KapsoExecution, events_path: str
) -> None:
    expected = [event.id for event in reversed(execution.events)]
    first = client.get(events_path).json()

    world.add_events(execution.id, 9)
    rest = walk(client, events_path, after=first["paging"]["next"])

    assert ids([first, *rest]) == expected


def test_events_of_equal_time_are_not_skipped_between_pages(
    client: httpx.Client, world: KapsoWorld, execution: KapsoExecution, events_path: str
) -> None:
    for _ in range(12):
        world.add_event(execution.id, "burst", created_at=world.now)

    pages = walk(client, events_path, event_type="burst", limit=5)

    assert len(set(ids(pages))) == 12


def test_a_cursor_is_base64_of_its_sort_values(
    client: httpx.Client, execution: KapsoExecution, events_path: str
) -> None:
    page = client.get(events_path, params={"limit": 1}).json()

    newest = execution.events[-1]
    time = newest.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    decoded = base64.b64decode(page["paging"]["next"]).decode()
    assert decoded == f'{{"version":1,"values":["{time}","{newest.id}"]}}'


def test_events_are_filtered_by_type(client: httpx.Client, events_path: str) -> None:
    pages = walk(client, events_path, event_type="step_entered", limit=2)

    assert {row["event_type"] for page in pages for row in page["data"]} == {"step_entered"}
    assert len(pages) > 1


CURSOR_WITHOUT_ZONE = base64.b64encode(b'{"version":1,"values":["2026-03-02T09:00:00","x"]}')


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"limit": "0"}, "limit must be between 1 and 100"),
        ({"limit": "101"}, "limit must be between 1 and 100"),
        ({"limit": "-1"}, "limit must be between 1 and 100"),
        ({"limit": "ten"}, "limit must be between 1 and 100"),
        ({"limit": "9" * 5000}, "limit must be between 1 and 100"),
        ({"after": "x", "before": "x"}, "after and before cannot be combined"),
        ({"after": "no cursor"}, "after is not a valid cursor"),
        ({"before": "e30="}, "before is not a valid cursor"),
        ({"after": "ä"}, "after is not a valid cursor"),
        ({"after": CURSOR_WITHOUT_ZONE.decode()}, "after is not a valid cursor"),
    ],
)
def test_values_that_cannot_be_read_are_400(
    client: httpx.Client, events_path: str, params: dict[str, str], error: str
) -> None:
    answer = client.get(events_path, params=params)

    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_a_walk_has_every_execution_of_the_workflow_newest_first(
    client: httpx.Client, world: KapsoWorld, executions_path: str
) -> None:
    workflow = next(iter(world.workflows.values()))

    pages = walk(client, executions_path, limit=4)

    assert ids(pages) == [execution.id for execution in reversed(workflow.executions)]


@pytest.mark.parametrize("status", ["running", "waiting", "handoff", "ended", "failed"])
def test_executions_are_filtered_by_status(
    client: httpx.Client, world: KapsoWorld, executions_path: str, status: str
) -> None:
    workflow = next(iter(world.workflows.values()))

    found = ids(walk(client, executions_path, status=status, limit=2))

    assert found == [e.id for e in reversed(workflow.executions) if e.status == status]


def test_both_bounds_of_the_start_are_inclusive(
    client: httpx.Client, world: KapsoWorld, executions_path: str
) -> None:
    workflow = next(iter(world.workflows.values()))
    low, high = workflow.executions[3], workflow.executions[6]
    # Written with an offset, to see that it is not compared as text.
    since = (low.started_at + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.%f+02:00")
    until = high.started_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    found = ids(walk(client, executions_path, created_after=since, created_before=until))

    assert found == [execution.id for execution in workflow.executions[6:2:-1]]


def test_executions_are_filtered_by_conversation_and_reason(
    client: httpx.Client, world: KapsoWorld, executions_path: str
) -> None:
    workflow = next(iter(world.workflows.values()))
    one = workflow.executions[2]

    by_conversation = walk(
        client, executions_path, whatsapp_conversation_id=one.whatsapp_conversation_id
    )
    by_reason = walk(client, executions_path, waiting_reason="wait_for_response")

    assert ids(by_conversation) == [one.id]
    waiting = [e.id for e in reversed(workflow.executions) if e.status == "waiting"]
    assert ids(by_reason) == waiting


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"status": "done"}, "status must be one of"),
        ({"created_after": "yesterday"}, "created_after must be an RFC 3339 date-time"),
        ({"created_before": "2026-03-02T09:00:00"}, "created_before must be an RFC 3339"),
    ],
)
def test_filters_that_cannot_be_read_are_400(
    client: httpx.Client, executions_path: str, params: dict[str, str], error: str
) -> None:
    answer = client.get(executions_path, params=params)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(error)


def test_an_execution_shows_its_whole_history_oldest_first(
    client: httpx.Client, execution: KapsoExecution
) -> None:
    detail = client.get(f"/workflow_executions/{execution.id}").json()["data"]

    assert detail["events"] == [event.data for event in execution.events]
    assert (detail["status"], detail["id"]) == (execution.status, execution.id)


def test_workflows_are_newest_first_with_what_they_have_executed(
    client: httpx.Client, world: KapsoWorld
) -> None:
    idle = world.add_workflow("Brand new")

    first, *others = client.get("/workflows").json()["data"]

    assert (first["id"], first["execution_count"], first["last_executed_at"]) == (idle.id, 0, None)
    assert [row["execution_count"] for row in others] == [15, 15]
    assert others[0]["project_id"] == world.project_id


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"name_contains": "FLOW 2"}, ["Support flow 2"]),
        ({"status": "archived"}, []),
        ({"status": "active"}, ["Support flow 2", "Support flow 1"]),
        ({"created_after": "2026-03-01T09:00:00Z"}, ["Support flow 2"]),
        ({"created_before": "2026-02-28T10:00:00Z"}, ["Support flow 1"]),
    ],
)
def test_workflows_are_filtered(
    client: httpx.Client, params: dict[str, str], names: list[str]
) -> None:
    rows = client.get("/workflows", params=params).json()["data"]

    assert [row["name"] for row in rows] == names


def test_one_workflow_is_shown_as_in_the_list(client: httpx.Client) -> None:
    row = client.get("/workflows").json()["data"][0]

    assert client.get(f"/workflows/{row['id']}").json() == {"data": row}


@pytest.mark.parametrize(
    "path",
    [
        "/workflows/unknown",
        "/workflows/unknown/executions",
        "/workflow_executions/unknown",
        "/workflow_executions/unknown/events",
        "/unknown",
    ],
)
def test_what_does_not_exist_is_404(client: httpx.Client, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


def test_writing_is_not_allowed(client: httpx.Client, events_path: str) -> None:
    answer = client.post(events_path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_the_rate_limit_counts_a_minute_and_then_opens_again(world: KapsoWorld) -> None:
    seconds = [0.0]
    limit = RateLimit(2, clock=lambda: seconds[0])

    with run_in_thread(KapsoServer(world, rate_limit=limit)) as kapso:
        headers = {"X-API-Key": kapso.api_key}
        with httpx.Client(headers=headers, trust_env=False) as client:
            url = f"{kapso.base_url}/workflows"
            answers = [client.get(url) for _ in range(3)]
            seconds[0] = 60.0
            later = client.get(url)

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert answers[2].headers["X-RateLimit-Limit"] == "2"
    assert answers[2].headers["Retry-After"] == "60"
    assert answers[2].json() == {"error": "Rate limit exceeded"}
    assert later.status_code == 200


def test_without_a_limit_there_are_no_rate_headers(client: httpx.Client) -> None:
    answer = client.get("/workflows")

    assert "X-RateLimit-Limit" not in answer.headers
