"""The source `kapso` against a Kapso of the sandbox and against servers with odd answers."""

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import define, field

from levada import Checkpoint, Event, Fatal, Gone, Partition, Retry, Secret
from levada.sandbox import KapsoServer, KapsoWorld, RecordedRequest, Response, Server
from levada_kapso.source import KapsoSource
from plugins.desk import Desk, Odd, at_desk

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def opened(base_url: str, **options: Any) -> AbstractAsyncContextManager[Desk]:
    options.setdefault("api_key", Secret("sandbox"))
    return at_desk(KapsoSource(base_url=base_url, **options))


@define(eq=False)
class Flaky(KapsoServer):
    """Answers one request with 500: the one after `fails_after` others."""

    fails_after: int = field(default=-1, kw_only=True)

    async def respond(self, request: RecordedRequest) -> Response:
        self.fails_after -= 1
        return Response(500) if self.fails_after == -1 else await super().respond(request)


def says(
    content: Any = None, *, status: int = 200, body: bytes | None = None
) -> Callable[[RecordedRequest], Response]:
    """Answer *content*, as it is when it is asked for, or *body*."""
    headers = {"Content-Type": "application/json"}
    return lambda _: Response(
        status, json.dumps(content).encode() if body is None else body, headers
    )


def row(number: int, *, seconds: float = 0, **more: Any) -> dict[str, Any]:
    time = (T0 + seconds * SECOND).isoformat()
    return {"id": f"e{number}", "event_type": "step_completed", "created_at": time, **more}


def asked(server: Server) -> list[str]:
    """Return and forget the requests: paths without the prefix, and queries."""
    requests = [
        request.path.removeprefix("/platform/v1")
        + "".join(f" {name}={value}" for name, value in request.query_pairs)
        for request in server.requests
    ]
    server.requests.clear()
    return requests


def ids(events: Iterable[Any]) -> list[str]:
    return [event.id for event in events]


# ── discovery ───────────────────────────────────────────────────────────────────────────────────


async def test_every_execution_is_discovered_with_one_request_a_page() -> None:
    world = KapsoWorld.sample(workflows=2, executions=250, events=2)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        *partitions, checkpoint = await desk.discover()

        keys = [each.key for each in partitions if isinstance(each, Partition)]
        assert sorted(keys) == sorted(world.executions)
        assert isinstance(checkpoint, Checkpoint)
        assert len(asked(kapso)) == 1 + 2 * 2


async def test_a_partition_shows_what_the_list_shows() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=5)
    world.end(execution.id)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        partition, _ = await desk.discover()

    last = execution.last_event_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert partition == Partition(
        execution.id,
        version=["ended", last],
        order=execution.started_at,
        final=True,
        changed=execution.last_event_at,
        uri=f"{kapso.base_url}/workflow_executions/{execution.id}",
    )


@pytest.mark.parametrize(
    ("status", "final"),
    [("running", False), ("waiting", False), ("handoff", False), ("ended", True), ("failed", True)],
)
async def test_only_ended_and_failed_are_final(status: str, final: bool) -> None:
    listed = {"data": [{"id": "x", "status": status, "last_event_at": "2026-03-02T09:00:00Z"}]}
    async with (
        Odd(answer=says(listed)) as server,
        opened(server.url, workflows=["w"]) as desk,
    ):
        partition, _ = await desk.discover()

    assert isinstance(partition, Partition)
    assert partition.final is final


@pytest.mark.parametrize(
    ("shown", "version", "final"),
    [
        ({"last_event_at": "T1"}, [None, "T1"], False),
        ({"last_event_at": "T1", "ended_at": "T2"}, ["T2", "T1"], True),
        ({"ended_at": "T2"}, ["T2", None], True),
        ({"status": "running"}, None, False),
        ({}, None, False),
        ({"status": 5, "last_event_at": {}, "extra": []}, None, False),
    ],
    ids=["open", "ended", "ended only", "status only", "nothing", "wrong types"],
)
async def test_a_list_may_show_less(
    shown: dict[str, Any], version: list[str] | None, final: bool
) -> None:
    async with (
        Odd(answer=says({"data": [{"id": 7, **shown}]})) as server,
        opened(server.url, workflows=["w"]) as desk,
    ):
        partition, _ = await desk.discover()

    assert isinstance(partition, Partition)
    assert (partition.key, partition.version, partition.final) == ("7", version, final)


async def test_the_older_executions_of_a_page_come_first() -> None:
    world = KapsoWorld.sample(workflows=1, executions=5)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        *partitions, _ = await desk.discover()

    assert [each.key for each in partitions if isinstance(each, Partition)] == list(
        world.executions
    )


async def test_given_workflows_are_read_without_asking_for_others() -> None:
    world = KapsoWorld.sample(workflows=3)
    first, second, _ = world.workflows
    async with KapsoServer(world) as kapso, opened(kapso.url, workflows=[second, first]) as desk:
        await desk.discover()

        assert asked(kapso) == [
            f"/workflows/{second}/executions limit=100",
            f"/workflows/{first}/executions limit=100",
        ]


async def test_given_executions_are_read_without_asking_for_any() -> None:
    async with (
        KapsoServer(KapsoWorld()) as kapso,
        opened(kapso.url, executions=["b/c", "a", "a"]) as desk,
    ):
        partitions = await desk.discover()

        assert asked(kapso) == []
        assert partitions == [
            Partition("b/c", uri=f"{kapso.base_url}/workflow_executions/b%2Fc"),
            Partition("a", uri=f"{kapso.base_url}/workflow_executions/a"),
        ]


async def test_without_a_list_of_workflows_they_must_be_given() -> None:
    answer = says({"error": "Not found"}, status=404)
    async with Odd(answer=answer) as server, opened(server.url) as desk:
        with pytest.raises(Fatal, match=r"list the ids: workflows = \[\.\.\.\]"):
            await desk.discover()


async def test_a_given_workflow_that_is_not_there_stops_the_source() -> None:
    world = KapsoWorld.sample()
    async with KapsoServer(world) as kapso, opened(kapso.url, workflows=["nope"]) as desk:
        with pytest.raises(Fatal, match='"Workflow not found"; is the id in `workflows` right'):
            await desk.discover()


async def test_a_workflow_that_goes_while_it_is_listed_is_reported() -> None:
    def answer(request: RecordedRequest) -> Response:
        if request.segments[-1] == "workflows":
            return says({"data": [{"id": "w1"}]})(request)
        return says({"error": "Not found"}, status=404)(request)

    async with Odd(answer=answer) as server, opened(server.url) as desk:
        found = await desk.discover()

    assert [type(each) for each in found] == [Checkpoint]
    assert [what for what, _ in desk.reports] == ["workflow.gone"]


async def test_an_execution_that_cannot_be_read_does_not_hide_the_others() -> None:
    body = b'{"data":[{"id":"a"},{"status":"ended"},NaN,{"id":"b"}],"paging":{"next":null}}'
    async with Odd(answer=says(body=body)) as server, opened(server.url, workflows=["w"]) as desk:
        *partitions, _ = await desk.discover()

    assert [each.key for each in partitions if isinstance(each, Partition)] == ["b", "a"]
    assert [what for what, _ in desk.reports] == ["execution.unreadable"] * 2


async def test_the_state_of_one_project_is_not_mixed_with_another() -> None:
    async with KapsoServer(KapsoWorld.sample()) as kapso, opened(kapso.url) as desk:
        checkpoint = (await desk.discover())[-1]
        assert isinstance(checkpoint, Checkpoint)
        assert checkpoint.position["project"] == kapso.world.project_id
        assert (await desk.discover(checkpoint.position))[-1] != checkpoint  # its time differs

        kapso.world.project_id = "other"
        with pytest.raises(Fatal, match="the API key is for project other"):
            await desk.discover(checkpoint.position)


# ── reading ─────────────────────────────────────────────────────────────────────────────────────


async def test_everything_is_read_once_and_oldest_first_with_a_request_a_page() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=250)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        batches = await desk.batches(execution.id)

        assert ids(event for batch in batches for event in batch.events) == ids(execution.events)
        assert [batch.position for batch in batches] == [
            None,
            None,
            {"newest": execution.last_event_at.isoformat()},
        ]
        path, pages = f"/workflow_executions/{execution.id}/events limit=100", asked(kapso)
        assert [page.partition(" after=")[0] for page in pages] == [path] * 3


async def test_an_event_is_the_vendors_record() -> None:
    world = KapsoWorld()
    execution = world.add_execution()
    made = world.add_event(execution.id, "step_failed", payload={"ação": 1}, step="update_crm")
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        _, event = await desk.read(execution.id)

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
        await desk.read(execution.id)
        asked(kapso)

        assert await desk.read(execution.id) == []
        assert len(asked(kapso)) == 1
        new = world.add_events(execution.id, 80)
        assert ids(await desk.read(execution.id)) == ids(new)
        assert len(asked(kapso)) == 1
        new = world.add_events(execution.id, 130)
        assert ids(await desk.read(execution.id)) == ids(new)
        assert len(asked(kapso)) == 2


@pytest.mark.parametrize(
    ("behind_s", "is_found"), [(0, True), (9.999, True), (10, True), (11, False)]
)
async def test_late_events_are_found_within_the_window(behind_s: float, is_found: bool) -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=30)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        await desk.read(execution.id)
        late = world.add_event(
            execution.id,
            "variables_set",
            created_at=execution.last_event_at - timedelta(seconds=behind_s),
        )

        assert ids(await desk.read(execution.id)) == ([late.id] if is_found else [])


async def test_a_walk_that_fails_is_not_remembered() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=250)
    async with Flaky(world) as kapso, opened(kapso.url) as desk:
        await desk.read(execution.id)
        position = desk.positions[execution.id]
        new = world.add_events(execution.id, 150)
        kapso.fails_after = 1

        with pytest.raises(Retry):
            await desk.read(execution.id)
        assert desk.positions[execution.id] == position
        assert ids(await desk.read(execution.id)) == ids(new)


async def test_an_event_from_the_future_does_not_hide_those_to_come() -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=5)
    world.add_event(execution.id, "clock_jumped", created_at=datetime.now(UTC) + 900 * SECOND)
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        await desk.read(execution.id)
        soon = world.add_event(execution.id, "x", created_at=datetime.now(UTC))

        assert ids(await desk.read(execution.id)) == [soon.id]


async def test_an_execution_without_events_is_read_again_from_its_start() -> None:
    rows: list[dict[str, Any]] = []
    async with Odd(answer=says({"data": rows})) as server, opened(server.url) as desk:
        assert await desk.read("x") == []
        rows.append(row(1))
        assert ids(await desk.read("x")) == ["e1"]


async def test_types_nobody_documents_pass_and_are_reported_once() -> None:
    world = KapsoWorld()
    one, two = world.add_execution(), world.add_execution()
    for execution in (one, one, two):
        world.add_event(execution.id, "moon_landed")
    async with KapsoServer(world) as kapso, opened(kapso.url) as desk:
        _, event, _ = await desk.read(one.id)
        await desk.read(two.id)

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
        batches = await desk.batches("x")

    events = [event for batch in batches for event in batch.events]
    assert ids(events) == ["first", "timeless", "4"]
    assert [event.time for event in events] == [T0 + s * SECOND for s in (1.5, 1.5, 4)]
    assert len([item for batch in batches for item in batch.rejected]) == 3


async def test_an_item_below_the_window_is_not_rejected_again() -> None:
    rows: list[Any] = [row(2, seconds=20), "text", row(1)]
    async with Odd(answer=says({"data": rows})) as server, opened(server.url) as desk:
        await desk.batches("x")
        rows.insert(0, row(3, seconds=40))
        await desk.batches("x")
        rows.insert(0, row(4, seconds=41))
        batches = await desk.batches("x")

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
    async with Odd(answer=paged(next_of)) as server, opened(server.url) as desk:
        assert ids(await desk.read("x")) == [f"e{n}" for n in range(1, 11)]
        assert len(asked(server)) == 5


async def test_a_limit_is_always_sent() -> None:
    world = KapsoWorld.sample(workflows=1, executions=7, events=7)
    async with KapsoServer(world) as kapso, opened(kapso.url, page_size=3) as desk:
        *partitions, _ = await desk.discover()
        for partition in partitions:
            assert isinstance(partition, Partition)
            await desk.read(partition)

        lists = [query for query in asked(kapso) if query != "/workflows"]
        assert len(lists) == 3 + 7 * 3
        assert [query for query in lists if " limit=3" not in query] == []


@pytest.mark.parametrize("period", [1, 2])
async def test_a_cursor_that_comes_again_is_no_end(period: int) -> None:
    answer = paged(lambda n: {"paging": {"next": str(n % period + 1)}})
    async with Odd(answer=answer) as server, opened(server.url) as desk:
        with pytest.raises(Retry, match="sent the same cursor twice; its end was not reached"):
            await desk.read("x")

        assert len(server.requests) == period + 1
    assert desk.positions == {}
    assert [what for what, _ in desk.reports] == ["paging.repeated"]


async def test_an_expired_cursor_starts_the_walk_again() -> None:
    def answer(request: RecordedRequest) -> Response:
        if "after" in request.query:
            return says({"error": "invalid cursor"}, status=400)(request)
        return says({"data": [row(2)], "paging": {"next": "old"}})(request)

    async with Odd(answer=answer) as server, opened(server.url) as desk:
        with pytest.raises(Retry, match=r'400 from GET .*: "invalid cursor"; starting again'):
            await desk.read("x")


async def test_an_execution_that_goes_during_the_walk_leaves_what_was_read() -> None:
    def answer(request: RecordedRequest) -> Response:
        if "after" in request.query:
            return says({"error": "Workflow execution not found"}, status=404)(request)
        return says({"data": [row(3), row(2)], "paging": {"next": "c"}})(request)

    async with Odd(answer=answer) as server, opened(server.url) as desk:
        with pytest.raises(Gone, match="Workflow execution not found"):
            await desk.read("x")

    assert desk.read_ids["x"] == {"e2", "e3"}
    assert desk.positions == {}


# ── refusals ────────────────────────────────────────────────────────────────────────────────────


async def test_a_refused_key_is_named_by_where_it_came_from() -> None:
    key = Secret("kapso_live_1", origin="environment variable KAPSO_API_KEY")
    async with KapsoServer(KapsoWorld()) as kapso, opened(kapso.url, api_key=key) as desk:
        with pytest.raises(Fatal) as caught:
            await desk.discover()

    assert str(caught.value) == (
        f'401 from {kapso.url}: "Missing or invalid API key"; '
        "the key came from environment variable KAPSO_API_KEY"
    )


async def test_an_error_never_shows_the_key() -> None:
    key = Secret("kapso_live_1")
    answer = says({"error": "no such key: kapso_live_1\n"}, status=403)
    async with Odd(answer=answer) as server, opened(server.url, api_key=key) as desk:
        with pytest.raises(Fatal, match=r'403 from .*: "no such key: \[redacted\]\\n"'):
            await desk.read("x")


@pytest.mark.parametrize(
    ("status", "failure"), [(404, Gone), (400, Fatal), (402, Fatal), (422, Fatal), (500, Retry)]
)
async def test_what_a_status_of_the_events_means(status: int, failure: type[Exception]) -> None:
    async with (
        Odd(answer=says({"error": "because"}, status=status)) as server,
        opened(server.url) as desk,
    ):
        with pytest.raises(failure):
            await desk.read("x")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>welcome</html>", b'{"error":"?"}', b'{"data":[{"id":"a"'],
    ids=["empty", "html", "error", "cut"],
)
async def test_anything_but_a_page_is_tried_again_later(body: bytes) -> None:
    async with Odd(answer=says(body=body)) as server, opened(server.url) as desk:
        with pytest.raises(Retry, match="is not the JSON that was expected"):
            await desk.read("x")


# ── options ─────────────────────────────────────────────────────────────────────────────────────


def test_the_identity_is_the_base_url_however_it_is_written() -> None:
    written = ("https://x.example", "https://x.example/platform/v1/")

    sources = [KapsoSource(api_key=Secret("k"), base_url=url) for url in written]

    assert {source.identity() for source in sources} == {"https://x.example/platform/v1"}


@pytest.mark.parametrize(
    "options", [{"page_size": 0}, {"page_size": 101}, {"base_url": "api.kapso.ai"}], ids=str
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        KapsoSource(api_key=Secret("k"), **options)


def test_the_key_is_not_in_its_repr() -> None:
    assert "s3cr3t" not in repr(KapsoSource(api_key=Secret("s3cr3t")))
