"""How the source `kapso` reads an execution, and what that costs."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import define, field

from levada import Event, Gone, Partition, Retry
from levada.sandbox import KapsoServer, KapsoWorld, RecordedRequest, Response
from levada_kapso.executions import unconfirmed
from plugins.desk import Odd
from plugins.kapso.servers import (
    SECOND,
    T0,
    Flaky,
    asked,
    ids,
    listed,
    only_lists,
    opened,
    row,
    says,
)


async def test_a_long_execution_is_read_by_its_first_page_and_its_detail() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=1250)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        batches = await desk.batches(listed(execution.id))

        assert ids(event for batch in batches for event in batch.events) == ids(execution.events)
        assert [batch.position for batch in batches] == [
            None,
            None,
            {"newest": execution.last_event_at.isoformat()},
        ]
        path = f"/workflow_executions/{execution.id}"
        assert asked(kapso) == [f"{path}/events limit=100", path]


def cut(make: Callable[[dict[str, Any]], object]) -> type[KapsoServer]:
    """Return a Kapso whose detail is changed by *make*, or left out where that says None."""

    @define(eq=False)
    class Cut(KapsoServer):
        async def respond(self, request: RecordedRequest) -> Response:
            response = await super().respond(request)
            if request.segments[-2] != "workflow_executions":
                return response
            detail = json.loads(response.body)
            if make(detail["data"]) is None:
                return says({"error": "Not found"}, status=404)(request)
            return says(detail)(request)

    return Cut


def is_cut_below(data: dict[str, Any]) -> object:
    del data["events"][:10]
    return data


def is_cut_above(data: dict[str, Any]) -> object:
    del data["events"][-10:]
    return data


def has_no_events(data: dict[str, Any]) -> object:
    return data.pop("events")


def is_turned_round(data: dict[str, Any]) -> object:
    data["events"].reverse()
    return data


def is_large(data: dict[str, Any]) -> object:
    data["execution_context"] = "x" * 40_000_000
    return data


def is_not_there(_: dict[str, Any]) -> object:
    return None


@pytest.mark.parametrize("fault", [is_cut_below, is_cut_above, has_no_events, is_not_there])
async def test_where_the_detail_is_not_whole_every_page_is_read(fault: Any) -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=250)
    async with cut(fault)(world) as kapso, opened(kapso.url) as desk:
        batches = await desk.batches(listed(execution.id))

        assert ids(event for batch in batches for event in batch.events) == ids(execution.events)
        assert [batch.position for batch in batches] == [
            None,
            None,
            {"newest": execution.last_event_at.isoformat()},
        ]
        assert len(asked(kapso)) == 1 + 1 + 2


async def test_a_detail_that_is_not_there_is_asked_for_once() -> None:
    world = KapsoWorld()
    one, two = world.add_execution(events=150), world.add_execution(events=150)
    async with cut(is_not_there)(world) as kapso, opened(kapso.url) as desk:
        await desk.read(listed(one.id))
        await desk.read(listed(two.id))

        assert len([each for each in asked(kapso) if "events" not in each]) == 1
    assert [what for what, _ in desk.reports] == ["route.missing"]


async def test_a_detail_that_is_newest_first_is_turned_round() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=150)
    async with cut(is_turned_round)(world) as kapso, opened(kapso.url) as desk:
        assert ids(await desk.read(listed(execution.id))) == ids(execution.events)
        assert len(asked(kapso)) == 2


async def test_a_detail_that_is_too_large_is_left_for_the_pages() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=150)
    async with cut(is_large)(world) as kapso, opened(kapso.url) as desk:
        assert ids(await desk.read(listed(execution.id))) == ids(execution.events)

    assert [what for what, _ in desk.reports] == ["detail.unusable"]


async def test_pages_that_are_too_large_are_asked_for_in_parts() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=1)
    for _ in range(100):
        world.add_event(execution.id, "flow_step", payload={"text": "x" * 400_000})
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        events = await desk.read(listed(execution.id))

        assert ids(events) == ids(execution.events)
        events_path = f"/workflow_executions/{execution.id}/events"
        first, second, *_ = asked(kapso)
        assert (first, second) == (f"{events_path} limit=100", f"{events_path} limit=12")


async def test_everything_is_read_once_and_oldest_first_with_a_request_a_page() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=250)
    async with cut(is_not_there)(world) as kapso, opened(kapso.url) as desk:
        batches = await desk.batches(listed(execution.id))

        assert ids(event for batch in batches for event in batch.events) == ids(execution.events)
        assert [batch.position for batch in batches] == [
            None,
            None,
            {"newest": execution.last_event_at.isoformat()},
        ]
        path = f"/workflow_executions/{execution.id}/events limit=100"
        pages = [each for each in asked(kapso) if "/events" in each]
        assert [page.partition(" after=")[0] for page in pages] == [path] * 3


async def test_an_event_is_the_vendors_record() -> None:
    world = KapsoWorld()
    execution = world.add_execution()
    made = world.add_event(execution.id, "step_failed", payload={"ação": 1}, step="update_crm")
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        _, event = await desk.read(listed(execution.id))

    assert event == Event(
        made.id,
        type="step_failed",
        time=made.created_at,
        partition=execution.id,
        raw=made.json,
        subject="update_crm",
        kind="step.failed",
    )


async def test_up_to_a_page_of_new_events_is_one_request() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=350)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        await desk.read(listed(execution.id))
        asked(kapso)

        assert await desk.read(listed(execution.id)) == []
        assert len(asked(kapso)) == 1
        new = world.add_events(execution.id, 80)
        assert ids(await desk.read(listed(execution.id))) == ids(new)
        assert len(asked(kapso)) == 1
        new = world.add_events(execution.id, 130)
        assert ids(await desk.read(listed(execution.id))) == ids(new)
        assert len(asked(kapso)) == 2


async def test_a_late_event_is_found_on_the_newest_page_however_late_it_is() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=30)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        await desk.read(listed(execution.id))
        late = world.add_event(execution.id, "x", created_at=execution.started_at)

        assert ids(await desk.read(listed(execution.id))) == [late.id]
        assert await desk.read(listed(execution.id)) == []


async def test_pages_are_read_until_one_is_older_than_the_window() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=330)
    async with KapsoServer(world) as kapso, opened(kapso.url, window=SECOND * 10) as desk:
        await desk.read(listed(execution.id))
        asked(kapso)
        newest = execution.last_event_at
        late = world.add_event(execution.id, "late", created_at=newest - SECOND * 9)
        crowd = [world.add_event(execution.id, "x", created_at=newest + SECOND) for _ in range(100)]

        assert set(ids(await desk.read(listed(execution.id)))) == {late.id, *ids(crowd)}
        assert len(asked(kapso)) == 2


async def test_of_an_execution_that_was_over_only_what_is_newer_is_new() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=300)
    world.end(execution.id)
    over = listed(execution.id, final=True)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        await desk.read(over)
        assert desk.positions[execution.id]["over"]
        desk.read_ids[execution.id] = set(ids(execution.events[-100:]))  # as the host does
        asked(kapso)
        again = world.add_event(execution.id, "reopened")

        assert ids(await desk.read(over)) == [again.id]
        assert len(asked(kapso)) == 1


async def test_the_last_look_at_a_long_execution_is_its_detail() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=300)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        await desk.read(listed(execution.id))
        late = world.add_event(execution.id, "late", created_at=execution.started_at + SECOND)
        asked(kapso)

        assert ids(await desk.read(listed(execution.id, final=True))) == [late.id]
        assert asked(kapso) == [f"/workflow_executions/{execution.id}"]


async def test_the_last_look_at_a_short_execution_is_its_only_page() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=30)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        await desk.read(listed(execution.id))
        late = world.add_event(execution.id, "late", created_at=execution.started_at)
        asked(kapso)

        assert ids(await desk.read(listed(execution.id, final=True))) == [late.id]
        assert asked(kapso) == [f"/workflow_executions/{execution.id}/events limit=100"]


async def test_without_a_detail_the_last_look_goes_back_as_far_as_the_linger() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=300)
    async with (
        cut(is_not_there)(world) as kapso,
        opened(kapso.url, linger=timedelta(days=1)) as desk,
    ):
        await desk.read(listed(execution.id))
        late = world.add_event(execution.id, "late", created_at=execution.started_at + SECOND)

        final = listed(execution.id, final=True)
        assert ids(await desk.read(final)) == [late.id]


@pytest.mark.parametrize("status", ["ended", "waiting"])
async def test_what_has_become_of_an_execution_its_detail_tells(status: str) -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=30)
    if status == "ended":
        world.end(execution.id)
    else:
        execution.status = "waiting"
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        events = await desk.read(unconfirmed(listed(execution.id)))

        assert ids(events) == ids(execution.events)
        assert asked(kapso) == [f"/workflow_executions/{execution.id}"]
    learnt = desk.learnt[execution.id]
    assert learnt.final == (status == "ended")
    assert learnt.memo == {"workflow": "w", "status": status}
    assert learnt.version is not None


@pytest.mark.parametrize(
    ("last", "final"),
    [("execution_ended", True), ("execution_failed", True), ("step_completed", False)],
)
async def test_without_a_detail_its_newest_event_tells(last: str, final: bool) -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=30)
    world.add_event(execution.id, last)
    async with cut(is_not_there)(world) as kapso, opened(kapso.url) as desk:
        await desk.read(unconfirmed(listed(execution.id)))

    assert desk.learnt.get(execution.id, Partition("")).final is final


async def test_an_execution_that_is_not_there_is_gone_and_its_route_is_not_blamed() -> None:
    async with KapsoServer(KapsoWorld()) as kapso, opened(kapso.url) as desk:
        with pytest.raises(Gone):
            await desk.read("nowhere")

        assert asked(kapso) == [
            "/workflow_executions/nowhere",
            "/workflow_executions/nowhere/events limit=100",
        ]
    assert desk.reports == []


async def test_events_are_held_until_earlier_ones_may_have_come() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=3)
    now = datetime.now(UTC)
    fresh = world.add_event(execution.id, "fresh", created_at=now)
    async with KapsoServer(world) as kapso, opened(kapso.url, hold=timedelta(minutes=1)) as desk:
        assert ids(await desk.read(listed(execution.id, version=1))) == ids(execution.events[:-1])
        assert desk.learnt[execution.id].version is None
        kapso.now = lambda: now + timedelta(minutes=2)

        await desk.read(listed(execution.id))  # tells the time
        assert ids(await desk.read(listed(execution.id))) in ([fresh.id], [])
        assert fresh.id in desk.read_ids[execution.id]


async def test_a_walk_that_fails_is_not_remembered() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=250)
    async with Flaky(world) as kapso, opened(kapso.url) as desk:
        await desk.read(listed(execution.id))
        position = desk.positions[execution.id]
        new = world.add_events(execution.id, 150)
        kapso.fails_after = 1

        with pytest.raises(Retry):
            await desk.read(listed(execution.id))
        assert desk.positions[execution.id] == position
        assert ids(await desk.read(listed(execution.id))) == ids(new)


async def test_an_event_from_the_future_does_not_hide_those_to_come() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=5)
    world.add_event(execution.id, "clock_jumped", created_at=datetime.now(UTC) + 900 * SECOND)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        await desk.read(listed(execution.id))
        soon = world.add_event(execution.id, "x", created_at=datetime.now(UTC))

        assert ids(await desk.read(listed(execution.id))) == [soon.id]


async def test_an_execution_without_events_is_read_again_from_its_start() -> None:
    rows: list[dict[str, Any]] = []
    async with Odd(answer=says({"data": rows})) as server, opened(server.url) as desk:
        assert await desk.read(listed("x")) == []
        rows.append(row(1))
        assert ids(await desk.read(listed("x"))) == ["e1"]


async def test_types_nobody_documents_pass_and_are_reported_once() -> None:
    world = KapsoWorld()
    one, two = world.add_execution(), world.add_execution()
    for execution in (one, one, two):
        world.add_event(execution.id, "moon_landed")
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        _, event, _ = await desk.read(listed(one.id))
        await desk.read(listed(two.id))

    assert (event.type, event.kind) == ("moon_landed", None)
    assert desk.reports == [("type.unknown", {"type": "moon_landed"})]


async def test_an_item_that_cannot_be_an_event_is_rejected_and_the_page_goes_on() -> None:
    body = (
        b'{"data":[{"id":4,"event_type":"a","created_at":"1772442004","payload":null},'
        b'{"id":"bad","created_at":"2026-03-02T09:00:03Z","payload":NaN},'
        b'{"id":"timeless","step":null},{"event_type":"nameless"},"text",'
        b'{"id":"first","created_at":"2026-03-02T06:00:01.5-03:00"}],"paging":{"next":null}}'
    )
    async with Odd(answer=says(body=body)) as server, opened(server.url) as desk:
        batches = await desk.batches(listed("x"))

    events = [event for batch in batches for event in batch.events]
    assert ids(events) == ["first", "timeless", "4"]
    assert [event.time for event in events] == [T0 + s * SECOND for s in (1.5, 1.5, 4)]
    assert len([item for batch in batches for item in batch.rejected]) == 3


async def test_an_item_below_the_window_is_not_rejected_again() -> None:
    rows: list[Any] = [row(2, seconds=20), "text", row(1)]
    async with Odd(answer=says({"data": rows})) as server, opened(server.url) as desk:
        await desk.batches(listed("x"))
        rows.insert(0, row(3, seconds=40))
        await desk.batches(listed("x"))
        rows.insert(0, row(4, seconds=41))
        batches = await desk.batches(listed("x"))

    assert [batch.rejected for batch in batches] == [()]
    assert ids(batches[0].events) == ["e4"]


# ── paging ──────────────────────────────────────────────────────────────────────────────────────


def paged(next_of: Callable[[int], dict[str, Any]]) -> Callable[[RecordedRequest], Response]:
    """Serve ten rows, two a page, whatever is asked for; `after` and `page` name the page."""

    def answer(request: RecordedRequest) -> Response:
        number = int(request.query.get("after", request.query.get("page", "0")))
        first = 10 - 2 * number
        rows = [row(first, seconds=first), row(first - 1, seconds=first - 1)]
        return says({"data": rows, **next_of(number)})(request)

    return answer


@pytest.mark.parametrize(
    "next_of",
    [
        lambda n: {"paging": {"next": str(n + 1) if n < 4 else None, "cursors": {"after": "9"}}},
        lambda n: {
            "paging": {"next": f"http://other.example/x?limit=2&after={n + 1}"} if n < 4 else {}
        },
        lambda n: {"meta": {"page": n, "per_page": 2, "total_pages": 4, "total_count": 10}},
    ],
    ids=["cursor", "url", "meta"],
)
async def test_every_kind_of_paging_is_walked_to_its_end(next_of: Any) -> None:
    async with Odd(answer=only_lists(paged(next_of))) as server, opened(server.url) as desk:
        assert ids(await desk.read(listed("x"))) == [f"e{n}" for n in range(1, 11)]
        assert len([each for each in asked(server) if "/events" in each]) == 5


async def test_a_limit_is_always_sent() -> None:
    world = KapsoWorld.sample(workflows=1, executions=7, events=7)
    async with KapsoServer(world) as kapso, opened(kapso.url, page_size=3) as desk:
        *partitions, _ = await desk.discover()
        for partition in partitions:
            assert isinstance(partition, Partition)
            await desk.read(partition)

        lists = [query for query in asked(kapso) if "limit" in query]
        assert len(lists) == 3 + 7
        assert [query for query in lists if " limit=3" not in query] == []


@pytest.mark.parametrize("period", [1, 2])
async def test_a_cursor_that_comes_again_is_no_end(period: int) -> None:
    answer = paged(lambda n: {"paging": {"next": str(n % period + 1)}})
    async with Odd(answer=only_lists(answer)) as server, opened(server.url) as desk:
        with pytest.raises(Retry, match="sent the same cursor twice; its end was not reached"):
            await desk.read(listed("x"))

        assert len([each for each in asked(server) if "/events" in each]) == period + 1
    assert desk.positions == {}
    assert [what for what, _ in desk.reports] == ["route.missing", "paging.repeated"]


@pytest.mark.parametrize("rows", [0, 2])
async def test_cursors_that_are_always_new_do_not_lead_on_for_ever(rows: int) -> None:
    def answer(request: RecordedRequest) -> Response:
        number = int(request.query.get("after", "0"))
        page = [row(2), row(1)][:rows]
        return says({"data": page, "paging": {"next": str(number + 1)}})(request)

    async with Odd(answer=only_lists(answer)) as server, opened(server.url) as desk:
        with pytest.raises(Retry, match="goes on without anything new"):
            await desk.read(listed("x"))

        assert len([each for each in asked(server) if "/events" in each]) <= 4
    assert desk.positions == {}
    assert "paging.repeated" in [what for what, _ in desk.reports]


async def test_an_expired_cursor_starts_the_walk_again() -> None:
    def answer(request: RecordedRequest) -> Response:
        if "after" in request.query:
            return says({"error": "invalid cursor"}, status=400)(request)
        return says({"data": [row(2)], "paging": {"next": "old"}})(request)

    async with Odd(answer=only_lists(answer)) as server, opened(server.url) as desk:
        with pytest.raises(Retry, match=r'400 from GET .*: "invalid cursor"; starting again'):
            await desk.read(listed("x"))


async def test_an_execution_that_goes_during_the_walk_leaves_what_was_read() -> None:
    def answer(request: RecordedRequest) -> Response:
        if "after" in request.query:
            return says({"error": "Workflow execution not found"}, status=404)(request)
        return says({"data": [row(3), row(2)], "paging": {"next": "c"}})(request)

    async with Odd(answer=only_lists(answer)) as server, opened(server.url) as desk:
        with pytest.raises(Gone, match="Workflow execution not found"):
            await desk.read(listed("x"))

    assert desk.read_ids["x"] == {"e2", "e3"}
    assert desk.positions == {}


@define(eq=False)
class Timed(KapsoServer):
    """Pages by cursors that hold a time alone, as the one in Kapso's reference: ties are skipped."""

    takes_foreign: bool = field(default=True, kw_only=True)
    made: set[str] = field(factory=set)

    async def respond(self, request: RecordedRequest) -> Response:
        if request.segments[-1] != "events":
            return says({"error": "Not found"}, status=404)(request)
        after, limit = request.query.get("after"), int(request.query["limit"])
        if after and not self.takes_foreign and after not in self.made:
            return says({"error": "invalid cursor"}, status=400)(request)
        events = self.world.executions[request.segments[-2]].events[::-1]
        if after:
            (time,) = json.loads(base64.b64decode(after))["values"]
            events = [each for each in events if each.created_at < datetime.fromisoformat(time)]
        page = events[:limit]
        cursor = None
        if len(events) > limit:
            values = [page[-1].created_at.isoformat(timespec="microseconds")]
            text = json.dumps({"version": 1, "values": values})
            cursor = base64.b64encode(text.encode()).decode()
            self.made.add(cursor)
        return says({"data": [each.data for each in page], "paging": {"next": cursor}})(request)


def crowded(each: int, times: int) -> tuple[KapsoWorld, str]:
    """Return a world with an execution that has *each* events at every one of *times* moments."""
    world = KapsoWorld()
    execution = world.add_execution()
    for second in range(1, times + 1):
        for _ in range(each):
            world.add_event(execution.id, "x", created_at=T0 + second * SECOND)
    return world, execution.id


@pytest.mark.parametrize("each", [2, 3, 7, 60])
async def test_cursors_that_hold_a_time_alone_skip_no_ties(each: int) -> None:
    world, key = crowded(each, 420 // each)
    async with Timed(world) as kapso, opened(kapso.url) as desk:
        events = await desk.read(listed(key))

    assert list(dict.fromkeys(ids(events))) == ids(world.executions[key].events)


async def test_more_ties_than_the_chosen_page_holds_are_found_on_the_longest() -> None:
    world, key = crowded(30, 5)
    async with Timed(world) as kapso, opened(kapso.url, page_size=7) as desk:
        events = await desk.read(listed(key))

    assert list(dict.fromkeys(ids(events))) == ids(world.executions[key].events)
    assert "paging.ties" not in [what for what, _ in desk.reports]


async def test_more_ties_than_fit_on_a_page_are_reported() -> None:
    world, key = crowded(150, 2)
    async with Timed(world) as kapso, opened(kapso.url) as desk:
        await desk.read(listed(key))

    assert "paging.ties" in [what for what, _ in desk.reports]


async def test_a_server_that_takes_only_its_own_cursors_gets_those() -> None:
    world, key = crowded(1, 350)
    async with Timed(world, takes_foreign=False) as kapso, opened(kapso.url) as desk:
        assert ids(await desk.read(listed(key))) == ids(world.executions[key].events)
        refused = [each for each in kapso.requests if "after" in each.query]

        assert len(refused) == 1 + 3
