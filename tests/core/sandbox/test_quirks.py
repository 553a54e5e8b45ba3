"""The quirks that both vendors have, turned on one by one."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from attrs import frozen

from core.sandbox.asking import Row, asking, rows
from levada.sandbox import (
    KapsoServer,
    KapsoWorld,
    Quirks,
    StevoraServer,
    StevoraWorld,
    VirtualClock,
    integer_id,
)

T0 = datetime(2026, 5, 1, 12, 34, 56, 789_012, tzinfo=UTC)


@frozen
class Desk:
    """One vendor with one execution of 60 events, the last of them at T0, and its lists."""

    client: httpx.Client
    quirks: Quirks
    ids: list[str]
    list_path: Callable[[], str]
    path_of: Callable[[str | int], str]
    id: str
    time_field: str
    type_field: str
    step_field: str

    def executions(self) -> list[Row]:
        return rows(self.client, self.list_path())

    def events(self, id_: str | int | None = None) -> list[Row]:
        size = "limit" if "workflow_executions" in self.path_of("") else "pageSize"
        return rows(self.client, self.path_of(id_ or self.id), **{size: 100})

    def newest(self) -> Row:
        return max(self.events(), key=lambda event: self.ids.index(event["id"]))


@pytest.fixture
def kapso() -> Iterator[Desk]:
    world = KapsoWorld(now=T0 - timedelta(hours=1))
    execution = world.add_execution(events=59)
    world.add_event(execution.id, "step_entered", step="update_crm", created_at=T0)
    server = KapsoServer(world, now=VirtualClock(T0))
    with asking(server) as client:
        yield Desk(
            client,
            server.quirks,
            [event.id for event in execution.events],
            lambda: f"/workflows/{server.quirks.id(execution.workflow.id)}/executions",
            lambda id_: f"/workflow_executions/{id_}/events",
            execution.id,
            "created_at",
            "event_type",
            "step",
        )


@pytest.fixture
def stevora() -> Iterator[Desk]:
    world = StevoraWorld(now=T0 - timedelta(hours=1))
    run = world.add_run(events=59)
    world.add_event(run.id, "STEP_STARTED", step="sync-crm", created_at=T0)
    server = StevoraServer(world, now=VirtualClock(T0))
    with asking(server) as client:
        yield Desk(
            client,
            server.quirks,
            [event.id for event in run.events],
            lambda: "/v1/workflow-runs",
            lambda id_: f"/v1/workflow-runs/{id_}/events",
            run.id,
            "createdAt",
            "eventType",
            "stepRunId",
        )


@pytest.fixture(params=["kapso", "stevora"])
def desk(request: pytest.FixtureRequest) -> Desk:
    vendor: Desk = request.getfixturevalue(request.param)
    return vendor


@pytest.mark.parametrize(
    ("times", "written"),
    [
        ("ms", "2026-05-01T12:34:56.789Z"),
        ("us", "2026-05-01T12:34:56.789012Z"),
        ("s", "2026-05-01T12:34:56Z"),
        ("offset", "2026-05-01T09:34:56.789-03:00"),
        ("unix", "1777638896"),
    ],
)
def test_times_are_written_in_any_format(desk: Desk, times: Any, written: str) -> None:
    desk.quirks.times = times

    assert desk.newest()[desk.time_field] == written


@pytest.mark.parametrize("times", ["us", "offset", "unix"])
def test_executions_have_the_same_format(desk: Desk, times: Any) -> None:
    desk.quirks.times = times

    values = [str(value) for value in desk.executions()[0].values()]

    assert not [value for value in values if re.fullmatch(r"\d+-\d+-\d+T[\d:]+\.\d{3}Z", value)]


def test_ids_are_integers_in_rows_and_paths(desk: Desk) -> None:
    desk.quirks.integer_ids = True

    [execution] = desk.executions()
    events = desk.events(execution["id"])

    assert execution["id"] == integer_id(desk.id)
    assert sorted(event["id"] for event in events) == sorted(map(integer_id, desk.ids))
    assert desk.client.get(desk.path_of(desk.id)).status_code == 404


def test_payloads_are_null(desk: Desk) -> None:
    assert None not in [event["payload"] for event in desk.events()]

    desk.quirks.null_payloads = True

    assert {event["payload"] for event in desk.events()} == {None}


def test_steps_are_null(desk: Desk) -> None:
    assert desk.newest()[desk.step_field] is not None

    desk.quirks.null_steps = True

    assert [event[desk.step_field] for event in desk.events()] == [None] * 60


def test_some_types_are_unknown(desk: Desk) -> None:
    plain = {event["id"]: event[desk.type_field] for event in desk.events()}

    desk.quirks.unknown_types = True

    types = {event["id"]: event[desk.type_field] for event in desk.events()}
    unknown = [types[id_] for id_ in types if types[id_] != plain[id_]]
    assert 0 < len(unknown) < 20
    assert all(name.lower().endswith("_v2") for name in unknown)


def test_rows_have_unknown_fields(desk: Desk) -> None:
    desk.quirks.extra_fields = True

    assert all("x_future" in each for each in (*desk.events(), *desk.executions()))


@pytest.mark.parametrize("minutes", [-10, 10])
def test_the_date_header_is_skewed(desk: Desk, minutes: int) -> None:
    desk.quirks.skew = timedelta(minutes=minutes)

    date = parsedate_to_datetime(desk.client.get(desk.list_path()).headers["Date"])

    assert date == T0.replace(microsecond=0) + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "server",
    [KapsoServer(KapsoWorld()), StevoraServer(StevoraWorld())],
    ids=["kapso", "stevora"],
)
def test_the_accepted_key_may_change(server: KapsoServer | StevoraServer) -> None:
    path = "/workflows" if isinstance(server, KapsoServer) else "/v1/workflow-runs"
    with asking(server) as client:
        server.api_key = "rotated"

        with_old_key = client.get(path)
        with_new_key = client.get(path, headers={"X-API-Key": "rotated"})

    assert (with_old_key.status_code, with_new_key.status_code) == (401, 200)
