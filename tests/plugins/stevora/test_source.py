"""The source `stevora` against a Stevora of the sandbox and against servers with odd answers."""

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from levada import Checkpoint, Fatal, Gone, Partition, Retry, Secret
from levada.sandbox import RecordedRequest, Response, Server, StevoraServer, StevoraWorld
from levada_stevora.source import StevoraSource
from plugins.desk import Desk, Odd, at_desk


def opened(base_url: str, **options: Any) -> AbstractAsyncContextManager[Desk]:
    options.setdefault("api_key", Secret("sandbox"))
    return at_desk(StevoraSource(base_url=base_url, **options))


def says(
    content: Any = None, *, status: int = 200, body: bytes | None = None
) -> Callable[[RecordedRequest], Response]:
    """Answer *content*, as it is when it is asked for, or *body*."""
    headers = {"Content-Type": "application/json"}
    return lambda _: Response(
        status, json.dumps(content).encode() if body is None else body, headers
    )


def listed(rows: list[Any], **meta: Any) -> Callable[[RecordedRequest], Response]:
    """Serve pages of *rows*, as they are when they are asked for."""

    def answer(request: RecordedRequest) -> Response:
        page, size = int(request.query["page"]), int(request.query["pageSize"])
        shown = {"page": page, "pageSize": size, "total": len(rows), **meta}
        data = rows[(page - 1) * size : page * size]
        return says({"success": True, "data": data, "meta": shown})(request)

    return answer


def row(number: int, **more: Any) -> dict[str, Any]:
    time = f"2026-03-02T09:{number // 60:02}:{number % 60:02}.000Z"
    return {"id": f"e{number}", "eventType": "STEP_STARTED", "createdAt": time, **more}


def asked(server: Server) -> list[int]:
    """Return and forget the pages that were asked for."""
    pages = [int(request.query["page"]) for request in server.requests]
    server.requests.clear()
    return pages


def ids(events: Iterable[Any]) -> list[str]:
    return [event.id for event in events]


def keys(found: Iterable[Partition | Checkpoint]) -> list[str]:
    return [each.key for each in found if isinstance(each, Partition)]


# ── discovery ───────────────────────────────────────────────────────────────────────────────────


async def test_every_run_is_discovered_with_one_request_a_page() -> None:
    world = StevoraWorld.sample(runs=250, events=2)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        *partitions, checkpoint = await desk.discover()

        assert sorted(keys(partitions)) == sorted(world.runs)
        assert isinstance(checkpoint, Checkpoint)
        assert asked(stevora) == [1, 2, 3]


async def test_a_partition_shows_what_the_list_shows() -> None:
    world = StevoraWorld()
    run = world.add_run(events=5)
    world.end(run.id)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        partition, _ = await desk.discover()

    updated = run.updated_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert partition == Partition(
        run.id,
        version=["COMPLETED", run.version, updated],
        order=run.created_at,
        final=True,
        changed=run.updated_at,
        uri=f"{stevora.url}/v1/workflow-runs/{run.id}",
    )


@pytest.mark.parametrize(
    ("status", "final"),
    [
        ("PENDING", False),
        ("RUNNING", False),
        ("WAITING", False),
        ("PAUSED", False),
        ("COMPLETED", True),
        ("CANCELLED", True),
        ("FAILED", True),
        ("SOMETHING_NEW", False),
    ],
)
async def test_which_runs_are_final(status: str, final: bool) -> None:
    async with (
        Odd(answer=listed([{"id": "r", "status": status, "version": 1}])) as server,
        opened(server.url) as desk,
    ):
        partition, _ = await desk.discover()

    assert isinstance(partition, Partition)
    assert partition.final is final


async def test_a_failed_run_that_is_retried_has_another_version() -> None:
    world = StevoraWorld()
    run = world.add_run(events=3)
    world.end(run.id, "FAILED")
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        failed, _ = await desk.discover()
        world.retry(run.id)
        retried, _ = await desk.discover()

    assert isinstance(failed, Partition)
    assert isinstance(retried, Partition)
    assert (failed.final, retried.final) == (True, False)
    assert failed.version != retried.version


async def test_a_run_that_shows_no_change_is_always_read() -> None:
    async with (
        Odd(answer=listed([{"id": 7, "status": "RUNNING", "version": {}, "extra": 1}])) as server,
        opened(server.url) as desk,
    ):
        partition, _ = await desk.discover()

    assert isinstance(partition, Partition)
    assert (partition.key, partition.version) == ("7", None)


async def test_definitions_narrow_the_list() -> None:
    world = StevoraWorld.sample(definitions=3, runs=9)
    first, second, _ = world.definitions
    async with StevoraServer(world) as stevora:
        async with opened(stevora.url, definitions=[first, second]) as desk:
            found = keys(await desk.discover())

        assert [request.query["definitionId"] for request in stevora.requests] == [first, second]
    wanted = [run.id for run in world.runs.values() if run.definition.id in {first, second}]
    assert sorted(found) == sorted(wanted)


async def test_given_runs_are_read_without_asking_for_any() -> None:
    async with (
        StevoraServer(StevoraWorld()) as stevora,
        opened(stevora.url, runs=["b/c", "a", "a"]) as desk,
    ):
        partitions = await desk.discover()

        assert asked(stevora) == []
        assert partitions == [
            Partition("b/c", uri=f"{stevora.url}/v1/workflow-runs/b%2Fc"),
            Partition("a", uri=f"{stevora.url}/v1/workflow-runs/a"),
        ]


async def test_without_a_list_of_runs_they_must_be_given() -> None:
    answer = says({"success": False, "error": {"message": "Route not found"}}, status=404)
    async with Odd(answer=answer) as server, opened(server.url) as desk:
        with pytest.raises(Fatal, match=r"list the ids: runs = \[\.\.\.\]"):
            await desk.discover()


async def test_a_run_that_moves_to_the_next_page_is_yielded_once() -> None:
    rows = [{"id": f"r{n}", "version": 1} for n in range(5)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        response = pages(request)
        if request.query["page"] == "1":
            rows.insert(0, {"id": "new", "version": 1})
        return response

    async with Odd(answer=answer) as server, opened(server.url, page_size=2) as desk:
        assert keys(await desk.discover()) == ["r0", "r1", "r2", "r3", "r4"]


async def test_a_list_without_a_total_ends_with_an_empty_page() -> None:
    rows = [{"id": f"r{n}", "version": 1} for n in range(4)]
    async with (
        Odd(answer=listed(rows, total=None)) as server,
        opened(server.url, page_size=2) as desk,
    ):
        assert keys(await desk.discover()) == ["r0", "r1", "r2", "r3"]
        assert asked(server) == [1, 2, 3]


async def test_the_state_of_one_workspace_is_not_mixed_with_another() -> None:
    async with StevoraServer(StevoraWorld.sample()) as stevora, opened(stevora.url) as desk:
        checkpoint = (await desk.discover())[-1]
        assert isinstance(checkpoint, Checkpoint)
        assert checkpoint.position["workspace"] == stevora.world.workspace_id

        stevora.world.workspace_id = "ws_other"
        with pytest.raises(Fatal, match="the API key is for workspace ws_other"):
            await desk.discover(checkpoint.position)


# ── reading ─────────────────────────────────────────────────────────────────────────────────────


async def test_everything_is_read_once_and_in_order_with_a_request_a_page() -> None:
    world = StevoraWorld()
    run = world.add_run(events=250)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        batches = await desk.batches(run.id)

        assert ids(event for batch in batches for event in batch.events) == ids(run.events)
        assert [batch.position for batch in batches] == [{"count": n} for n in (100, 200, 250)]
        assert asked(stevora) == [1, 2, 3]


async def test_an_event_is_the_vendors_record() -> None:
    world = StevoraWorld()
    run = world.add_run(events=30)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        events = await desk.read(run.id)

    shown = [json.loads(made.json) for made in run.events]
    assert [event.raw for event in events] == [made.json for made in run.events]
    assert [event.subject for event in events] == [each["stepRunId"] for each in shown]
    assert [event.type for event in events] == [each["eventType"] for each in shown]
    assert [event.time for event in events] == [made.created_at for made in run.events]
    assert events[0].kind == "run.started"


async def test_up_to_a_page_of_new_events_is_one_request() -> None:
    world = StevoraWorld()
    run = world.add_run(events=350)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        await desk.read(run.id)
        asked(stevora)

        assert await desk.read(run.id) == []
        assert asked(stevora) == [4]
        new = world.add_events(run.id, 50)
        assert ids(await desk.read(run.id)) == ids(new)
        assert asked(stevora) == [4]
        assert await desk.read(run.id) == []
        assert asked(stevora) == [5]
        new = world.add_events(run.id, 130)
        assert ids(await desk.read(run.id)) == ids(new)
        assert asked(stevora) == [5, 6]


async def test_the_page_size_may_change() -> None:
    world = StevoraWorld()
    run = world.add_run(events=45)
    async with StevoraServer(world) as stevora:
        async with opened(stevora.url, page_size=20) as desk:
            await desk.read(run.id)
            read, positions = desk.read_ids, desk.positions
        stevora.requests.clear()
        new = world.add_events(run.id, 10)
        async with opened(stevora.url, page_size=7) as desk:
            desk.read_ids, desk.positions = read, positions

            assert ids(await desk.read(run.id)) == ids(new)
        assert asked(stevora) == [7, 8]


async def test_a_server_may_have_smaller_pages() -> None:
    rows = [row(n) for n in range(25)]

    def answer(request: RecordedRequest) -> Response:
        page = int(request.query["page"])
        meta = {"page": page, "pageSize": 10, "total": len(rows)}
        return says({"data": rows[page * 10 - 10 : page * 10], "meta": meta})(request)

    async with Odd(answer=answer) as server, opened(server.url) as desk:
        assert len(await desk.read("r")) == 25
        rows.append(row(25))
        assert ids(await desk.read("r")) == ["e25"]


async def test_a_read_goes_on_where_it_was_cut_off() -> None:
    world = StevoraWorld()
    run = world.add_run(events=250)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        async for batch in desk.source.read(Partition(run.id), None, desk):
            desk.read_ids[run.id].update(ids(batch.events))
            desk.positions[run.id] = batch.position
            break

        assert ids(await desk.read(run.id)) == ids(run.events)[100:]
        assert asked(stevora) == [1, 2, 3]


async def test_an_event_that_shows_late_on_an_earlier_page_is_found() -> None:
    rows = [row(n) for n in range(50)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=10) as desk:
        await desk.read("r")
        asked(server)
        rows.insert(25, {**row(25), "id": "late"})

        assert ids(await desk.read("r")) == ["late"]
        assert asked(server) == [6, 5, 4, 3]
        assert desk.positions["r"] == {"count": 51}
        assert await desk.read("r") == []
        assert asked(server) == [6]


async def test_rows_that_change_places_between_pages_are_all_found() -> None:
    rows = [row(n) for n in range(30)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        response = pages(request)
        if len(server.requests) == 1:
            rows[9], rows[10] = rows[10], rows[9]
        return response

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        events = await desk.read("r")

        assert sorted(ids(events)) == sorted(each["id"] for each in rows)
        assert len(events) == len(rows)
        assert asked(server) == [1, 2, 3, 2, 1]


async def test_a_total_that_is_never_reached_is_searched_for_once() -> None:
    rows = [row(n) for n in range(25)]
    async with (
        Odd(answer=listed(rows, total=27)) as server,
        opened(server.url, page_size=10) as desk,
    ):
        assert len(await desk.read("r")) == 25
        assert asked(server) == [1, 2, 3, 2, 1]
        assert await desk.read("r") == []
        assert asked(server) == [3]

    assert desk.positions["r"] == {"count": 25, "missing": 2}
    assert desk.reports == [("events.missing", {"partition": "r", "missing": 2})]


async def test_a_list_that_grows_while_it_is_read_is_read_once() -> None:
    rows = [row(n) for n in range(12)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        response = pages(request)
        rows.extend([row(len(rows) + n) for n in range(4)])
        return response

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        events = [event for _ in range(5) for event in await desk.read("r")]

    assert len(events) > 30
    assert ids(events) == [f"e{n}" for n in range(len(events))]


@pytest.mark.parametrize("kept", [0, 5, 12, 24])
async def test_a_list_that_became_shorter_is_read_from_its_start(kept: int) -> None:
    rows = [row(n) for n in range(25)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=10) as desk:
        await desk.read("r")
        del rows[: len(rows) - kept]
        asked(server)

        assert await desk.read("r") == []
        assert asked(server) == [3, *range(1, kept // 10 + 2)]
        assert desk.reports == [("history.shrank", {"partition": "r", "read": 25, "total": kept})]
        rows.append(row(30))
        assert ids(await desk.read("r")) == ["e30"]


async def test_a_page_beyond_the_end_may_be_404() -> None:
    rows = [row(n) for n in range(10)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        if int(request.query["page"]) * 10 - 10 >= len(rows):
            return says({"success": False}, status=404)(request)
        return pages(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        await desk.read("r")
        assert await desk.read("r") == []
        assert asked(server) == [1, 2, 1]


async def test_a_run_that_goes_during_a_read_is_gone_on_the_next() -> None:
    rows: list[Any] = [row(n) for n in range(15)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        if len(server.requests) > 1:
            return says({"success": False}, status=404)(request)
        return pages(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        with pytest.raises(Retry, match="but the page before it is there"):
            await desk.read("r")
        with pytest.raises(Gone):
            await desk.read("r")
        assert asked(server) == [1, 2, 2, 1]
    assert len(desk.read_ids["r"]) == 10


async def test_a_server_that_ignores_the_page_is_not_asked_for_ever() -> None:
    answer = says({"success": True, "data": [row(1), row(2)]})
    async with Odd(answer=answer) as server, opened(server.url, page_size=2) as desk:
        assert ids(await desk.read("r")) == ["e1", "e2"]
        assert asked(server) == [1, 2]


async def test_types_nobody_documents_pass_and_are_reported_once() -> None:
    rows = [row(1, eventType="MOON_LANDED"), row(2, eventType="MOON_LANDED", stepRunId=None)]
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        event, _ = await desk.read("r")
        await desk.read("s")

    assert (event.type, event.kind, event.subject) == ("MOON_LANDED", None, None)
    assert desk.reports == [("type.unknown", {"type": "MOON_LANDED"})]


async def test_an_item_that_cannot_be_an_event_is_rejected_once() -> None:
    good = [json.dumps(row(n)).encode() for n in range(3)]
    items = [good[0], b'{"id":"bad","payload":NaN}', b'{"eventType":"x"}', good[1]]

    def answer(request: RecordedRequest) -> Response:
        total = len(items)
        body = b'{"success":true,"data":[%b],"meta":{"total":%d}}' % (b",".join(items), total)
        return says(body=body)(request)

    async with Odd(answer=answer) as server, opened(server.url) as desk:
        (first,) = await desk.batches("r")
        items += [good[2], b"5"]
        (second,) = await desk.batches("r")
        (third,) = await desk.batches("r")

    assert [ids(batch.events) for batch in (first, second, third)] == [["e0", "e1"], ["e2"], []]
    assert [len(batch.rejected) for batch in (first, second, third)] == [2, 1, 0]
    assert third.position == {"count": 6}


# ── refusals ────────────────────────────────────────────────────────────────────────────────────


async def test_a_refused_key_is_named_by_where_it_came_from() -> None:
    key = Secret("stv_1", origin="environment variable STEVORA_API_KEY")
    async with (
        StevoraServer(StevoraWorld()) as stevora,
        opened(stevora.url, api_key=key) as desk,
    ):
        with pytest.raises(Fatal) as caught:
            await desk.discover()

    assert str(caught.value) == (
        f'401 from {stevora.url}: "Invalid or revoked API key"; '
        "the key came from environment variable STEVORA_API_KEY"
    )


@pytest.mark.parametrize(
    ("status", "failure"), [(404, Gone), (400, Fatal), (402, Fatal), (422, Fatal), (500, Retry)]
)
async def test_what_a_status_of_the_events_means(status: int, failure: type[Exception]) -> None:
    answer = says({"success": False, "error": {"message": "because"}}, status=status)
    async with Odd(answer=answer) as server, opened(server.url) as desk:
        with pytest.raises(failure):
            await desk.read("r")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            {"success": False, "error": {"code": "X", "message": "busy"}},
            '200 without success: "busy"',
        ),
        ({"success": True}, "200 without success"),
        ({}, "200 without success"),
        ({"success": True, "data": {"id": 1}}, "is not the JSON that was expected"),
        ([], "is not the JSON that was expected"),
    ],
    ids=["no success", "no data", "empty", "no list", "list"],
)
async def test_anything_but_a_page_is_tried_again_later(content: Any, text: str) -> None:
    async with Odd(answer=says(content)) as server, opened(server.url) as desk:
        with pytest.raises(Retry, match=text):
            await desk.read("r")


# ── options ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prefix", ["", "/", "/v1", "/api", "/api/v1/"])
async def test_a_base_url_may_have_a_prefix(prefix: str) -> None:
    async with Odd(answer=listed([])) as server, opened(server.url + prefix) as desk:
        await desk.discover()

        root = "/api" if "api" in prefix else ""
        assert [request.path for request in server.requests] == [f"{root}/v1/workflow-runs"]


def test_the_identity_is_the_base_url_however_it_is_written() -> None:
    written = ("https://x.example", "https://x.example/v1/")

    sources = [StevoraSource(api_key=Secret("k"), base_url=url) for url in written]

    assert {source.identity() for source in sources} == {"https://x.example"}


@pytest.mark.parametrize(
    "options", [{"page_size": 0}, {"page_size": 101}, {"base_url": "api.stevora.dev"}], ids=str
)
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        StevoraSource(api_key=Secret("k"), **options)


def test_the_key_is_not_in_its_repr() -> None:
    assert "s3cr3t" not in repr(StevoraSource(api_key=Secret("s3cr3t")))
