"""How the source `stevora` reads one run: at a desk, through sockets."""

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest

from levada import Gone, Partition, Retry, TooLarge
from levada.sandbox import RecordedRequest, Response, StevoraQuirks, StevoraServer, StevoraWorld
from levada.source import KEPT_IDS
from levada_stevora import progress
from plugins.desk import Desk, Odd
from plugins.stevora.servers import NOT_FOUND, USED, asked, ids, listed, opened, row, says


def run_of(desk: Desk, key: str) -> Partition:
    """Return a run as it is tracked, so that it counts as open."""
    partition = desk.learnt.get(key, Partition(key))
    desk.open_partitions = {key: partition}
    return partition


async def read(desk: Desk, key: str = "r") -> list[str]:
    return ids(await desk.read(run_of(desk, key)))


# ── on and on ───────────────────────────────────────────────────────────────────────────────────


async def test_everything_is_read_once_and_in_order_with_a_request_a_page() -> None:
    world = StevoraWorld()
    run = world.add_run(events=250)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        batches = await desk.batches(run.id)

        assert ids(event for batch in batches for event in batch.events) == ids(run.events)
        positions = [batch.position for batch in batches if batch.events]
        assert positions == [{"count": n} for n in (100, 200, 250)]
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


async def test_a_read_costs_a_request_for_each_page_from_the_last_known_event_on() -> None:
    world = StevoraWorld()
    run = world.add_run(events=350)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        await read(desk, run.id)
        asked(stevora)

        for new, pages in ((0, [4]), (50, [4]), (0, [4]), (130, [4, 5, 6]), (0, [6])):
            expected = ids(world.add_events(run.id, new))
            assert await read(desk, run.id) == expected
            assert asked(stevora) == pages


async def test_the_last_look_at_a_run_of_several_pages_begins_a_page_earlier() -> None:
    world = StevoraWorld()
    run = world.add_run(events=350)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        await read(desk, run.id)
        asked(stevora)
        desk.learnt[run.id] = Partition(run.id, version=["COMPLETED"], final=True)

        assert await read(desk, run.id) == []
        assert asked(stevora) == [3, 4]


async def test_an_idle_read_has_nothing_to_keep() -> None:
    world = StevoraWorld()
    run = world.add_run(events=30)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        await desk.batches(run_of(desk, run.id))

        assert await desk.batches(run_of(desk, run.id)) == []


async def test_a_run_without_events_has_a_position_all_the_same() -> None:
    async with Odd(answer=listed([])) as server, opened(server.url) as desk:
        (batch,) = await desk.batches("r")

    assert (batch.events, batch.position) == ((), {"count": 0})


async def test_the_page_size_may_change() -> None:
    world = StevoraWorld()
    run = world.add_run(events=45)
    async with StevoraServer(world) as stevora:
        async with opened(stevora.url, page_size=20) as desk:
            await desk.read(run.id)
            known, positions = desk.read_ids, desk.positions
        stevora.requests.clear()
        new = world.add_events(run.id, 10)
        async with opened(stevora.url, page_size=7) as desk:
            desk.read_ids, desk.positions = known, positions

            assert await read(desk, run.id) == ids(new)
        assert asked(stevora) == [7, 8]


@pytest.mark.parametrize("shown", [True, False], ids=["with meta", "without"])
@pytest.mark.parametrize("size", [7, 40])
async def test_a_server_may_have_pages_of_another_size(size: int, shown: bool) -> None:
    rows = [row(n) for n in range(100)]

    def answer(request: RecordedRequest) -> Response:
        page = int(request.query["page"])
        meta = {"page": page, "pageSize": size, "total": len(rows)}
        data = rows[page * size - size : page * size]
        return says({"data": data, **({"meta": meta} if shown else {})})(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=20) as desk:
        assert await read(desk) == names(rows)
        asked(server)
        rows.append(row(100))
        assert await read(desk) == ["e100"]
        assert not shown or asked(server) == [99 // size + 1]
        assert desk.reports == []


@pytest.mark.parametrize(
    "meta", [{}, {"pageSize": None}, {"pageSize": None, "total": None}], ids=str
)
@pytest.mark.parametrize("count", [8, 13, 20, 95, 151])
@pytest.mark.parametrize("used", USED)
async def test_pages_may_be_of_another_size_than_the_server_says(
    used: str, count: int, meta: dict[str, Any]
) -> None:
    rows = [row(n) for n in range(count)]
    async with Odd(answer=listed(rows, used=used, **meta)) as server:
        async with opened(server.url, page_size=20) as desk:
            assert await read(desk) == names(rows)
            rows.append(row(count))
            assert await read(desk) == [f"e{count}"]
            known, positions = desk.read_ids, desk.positions
        for new in (1, 3, 17):
            rows.extend(row(len(rows) + n) for n in range(new))
            async with opened(server.url, page_size=20) as desk:
                desk.read_ids, desk.positions = known, positions
                assert await read(desk) == names(rows)[-new:]
                assert await read(desk) == []
                assert desk.reports == []


async def test_a_page_that_is_filled_while_the_next_is_asked_for_is_read_again() -> None:
    rows = [row(n) for n in range(250)]
    pages = listed(rows, total=None, pageSize=None)
    shown = 150

    def answer(request: RecordedRequest) -> Response:
        nonlocal shown
        response = listed(rows[:shown], total=None, pageSize=None)(request)
        shown = 250 if request.query["page"] == "2" else shown
        return response

    async with Odd(answer=answer) as server, opened(server.url) as desk:
        assert set(await read(desk)) == set(names(rows))
        server.answer = pages
        rows.append(row(250))
        assert await read(desk) == ["e250"]


async def test_a_page_that_is_empty_when_it_is_read_again_tells_no_size() -> None:
    rows = [row(n) for n in range(150)]
    seen = list[str]()

    def answer(request: RecordedRequest) -> Response:
        page = request.query["page"]
        again = page in seen
        seen.append(page)
        shown = [] if again else rows[:50] if page == "1" else rows[50:] if page == "2" else []
        return says({"success": True, "data": shown})(request)

    async with Odd(answer=answer) as server, opened(server.url) as desk:
        assert await read(desk) == names(rows)
        server.answer = listed(rows, total=None, pageSize=None)
        rows.append(row(150))
        assert await read(desk) == ["e150"]


async def test_the_last_page_of_a_run_does_not_tell_the_size_of_others() -> None:
    rows = {"a": [row(n) for n in range(60)], "b": [row(n) for n in range(100, 133)]}

    def answer(request: RecordedRequest) -> Response:
        page = int(request.query["page"])
        of = rows[request.segments[-2]]
        data = of[(page - 1) * 37 : page * 37]
        return says({"data": data, "meta": {"total": len(of)}})(request)

    async with Odd(answer=answer) as server, opened(server.url) as desk:
        assert await read(desk, "b") == names(rows["b"])
        assert await read(desk, "a") == names(rows["a"])
        rows["b"] += [row(n) for n in range(133, 141)]
        assert await read(desk, "b") == names(rows["b"])[33:]


async def test_a_page_that_is_too_large_is_asked_for_in_parts() -> None:
    rows = [row(n, payload={"text": "x" * 400_000}) for n in range(150)]
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        with pytest.raises(Retry, match="max_response_bytes; asking for fewer events"):
            await read(desk)

        assert await read(desk) == names(rows)
        rows.append(row(150))
        assert await read(desk) == ["e150"]
        assert desk.reports == []


async def test_an_event_that_is_too_large_by_itself_says_so() -> None:
    rows = [row(n, payload={"text": "x" * 40_000_000}) for n in range(2)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=5) as desk:
        with pytest.raises(Retry):
            await read(desk)
        with pytest.raises(TooLarge, match="raise max_response_bytes"):
            await read(desk)


async def test_a_read_goes_on_where_it_was_cut_off() -> None:
    world = StevoraWorld()
    run = world.add_run(events=250)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        async for batch in desk.source.read(Partition(run.id), None, desk):
            desk.read_ids[run.id].update(ids(batch.events))
            desk.positions[run.id] = batch.position
            break

        assert await read(desk, run.id) == ids(run.events)[100:]
        assert asked(stevora) == [1, 1, 2, 3]


async def test_a_list_that_grows_while_it_is_read_is_read_once() -> None:
    rows = [row(n) for n in range(12)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        response = pages(request)
        rows.extend([row(len(rows) + n) for n in range(4)])
        return response

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        events = [event for _ in range(5) for event in await read(desk)]

    assert len(events) > 30
    assert events == [f"e{n}" for n in range(len(events))]


async def test_a_server_that_ignores_the_page_is_not_asked_for_ever() -> None:
    answer = says({"success": True, "data": [row(1), row(2)]})
    async with Odd(answer=answer) as server, opened(server.url, page_size=2) as desk:
        assert await read(desk) == ["e1", "e2"]
        assert asked(server) == [1, 2]


async def test_fifty_thousand_events_are_read_in_bounded_memory() -> None:
    filler = "x" * 1_000
    page = [row(n, payload={"text": filler}) for n in range(100)]

    def answer(request: RecordedRequest) -> Response:
        number = int(request.query["page"])
        rows = [each | {"id": f"e{number}-{n}"} for n, each in enumerate(page)]
        meta = {"page": number, "pageSize": 100, "total": 50_000}
        return says({"data": rows, "meta": meta})(request)

    async with Odd(answer=answer) as server, opened(server.url) as desk:
        count, levels = 0, list[int]()
        tracemalloc.start()
        try:
            async for batch in desk.source.read(Partition("r"), None, desk):
                server.requests.clear()
                count += len(batch.events)
                if count % 10_000 == 0:
                    levels.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()

    assert count == 50_000
    assert levels[-1] - levels[0] < 40_000 * 120  # an id is remembered, an event of 1 kB is not


# ── events that are hidden ──────────────────────────────────────────────────────────────────────


async def test_an_event_that_shows_late_on_an_earlier_page_is_found() -> None:
    rows = [row(n) for n in range(50)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=10) as desk:
        await read(desk)
        asked(server)
        rows.insert(25, {**row(25), "id": "late"})

        assert await read(desk) == ["late"]
        assert asked(server) == [5, 6, 5, 4, 3]
        assert desk.positions["r"] == {"count": 51}
        assert await read(desk) == []
        assert asked(server) == [6]


async def test_a_late_event_comes_before_the_younger_ones_of_the_same_read() -> None:
    rows = [row(n) for n in range(150)]
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        await read(desk)
        rows.insert(95, {**row(95), "id": "late"})
        rows.append(row(150))

        assert await read(desk) == ["late", "e150"]
        assert desk.positions["r"] == {"count": 152}


async def test_a_late_event_on_the_page_that_is_read_anyway_costs_nothing_more() -> None:
    rows = [row(n) for n in range(47)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=10) as desk:
        await read(desk)
        asked(server)
        rows.insert(44, {**row(44), "id": "late"})
        rows.append(row(50))

        assert await read(desk) == ["late", "e50"]
        assert asked(server) == [5]


async def test_rows_that_change_places_between_pages_are_all_found() -> None:
    rows = [row(n) for n in range(30)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        response = pages(request)
        if len(server.requests) == 1:
            rows[9], rows[10] = rows[10], rows[9]
        return response

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        events = await read(desk)

        assert sorted(events) == sorted(names(rows))
        # Page 2 began with a row of page 1, so a page of 7 with that border inside is next.
        assert [int(request.query["pageSize"]) for request in server.requests] == [10, 10, 10, 7]
        assert desk.positions["r"] == {"count": 30}


async def test_a_total_that_is_never_reached_is_searched_for_once() -> None:
    rows = [row(n) for n in range(25)]
    async with (
        Odd(answer=listed(rows, total=27)) as server,
        opened(server.url, page_size=10) as desk,
    ):
        assert len(await read(desk)) == 25
        assert asked(server) == [1, 2, 3, 2, 1]
        assert await read(desk) == []
        assert asked(server) == [3]

    assert desk.positions["r"] == {"count": 25, "missing": 2}
    assert desk.reports == [("events.missing", {"partition": "r", "missing": 2})]


@pytest.mark.parametrize(("off", "pages"), [(1, [5, 4, 3]), (-1, [5, 1])])
async def test_a_total_of_another_moment_costs_a_second_look(off: int, pages: list[int]) -> None:
    rows = [row(n) for n in range(48)]
    is_off = False

    def answer(request: RecordedRequest) -> Response:
        shift = off if is_off and not server.requests[1:] else 0
        return listed(rows, total=len(rows) + shift)(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        await read(desk)
        asked(server)
        is_off = True

        assert await read(desk) == []
        assert asked(server) == pages
    assert (desk.positions["r"], desk.reports) == ({"count": 48}, [])


async def test_a_search_that_failed_for_rows_that_swap_is_made_again() -> None:
    rows = [row(n) for n in range(6)]
    shows = ["e0 e1 e2", "e0 e1 e2"]
    hides = True

    def answer(request: RecordedRequest) -> Response:
        page, size = int(request.query["page"]), int(request.query["pageSize"])
        data = rows[page * size - size : page * size]
        if hides:  # e5 is always on the other page
            data = [each if each["id"] != "e5" else rows[0] for each in data]
        return says({"data": data, "meta": {"pageSize": size, "total": 6}})(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=3) as desk:
        assert len(await read(desk)) == 5
        assert len(shows) < len(server.requests) < 20
        hides = False
        assert await read(desk) == ["e5"]
    assert desk.positions["r"] == {"count": 6}


# ── a list that became shorter ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kept", [0, 5, 12, 24])
async def test_a_list_that_became_shorter_is_read_from_its_start(kept: int) -> None:
    rows = [row(n) for n in range(25)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=10) as desk:
        await read(desk)
        del rows[: len(rows) - kept]
        asked(server)

        assert await read(desk) == []
        assert asked(server) == [3, *range(1, max(kept - 1, 0) // 10 + 2)]
        assert desk.reports == [("history.shrank", {"partition": "r", "read": 25, "total": kept})]
        rows.append(row(30))
        assert await read(desk) == ["e30"]


@pytest.mark.parametrize("count", [30, 35])
@pytest.mark.parametrize(("deleted", "added"), [(1, 1), (3, 8), (12, 15), (20, 8)])
async def test_what_came_with_a_deletion_is_found(count: int, deleted: int, added: int) -> None:
    rows = [row(n) for n in range(count)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=10) as desk:
        await read(desk)
        del rows[:deleted]
        rows += [row(100 + n) for n in range(added)]

        found = [event for _ in range(2) for event in await read(desk)]

        assert sorted(found) == sorted(f"e{100 + n}" for n in range(added))
        assert desk.positions["r"] == {"count": len(rows)}


async def test_a_single_page_that_became_shorter_is_reported() -> None:
    rows = [row(n) for n in range(8)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=10) as desk:
        await read(desk)
        del rows[:2]
        await read(desk)
        await read(desk)

        assert asked(server) == [1, 1, 1]
    assert desk.reports == [("history.shrank", {"partition": "r", "read": 8, "total": 6})]


async def test_a_read_anew_that_is_cut_off_begins_again() -> None:
    rows = [row(n) for n in range(45)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=10) as desk:
        await read(desk)
        del rows[:20]
        rows += [row(100 + n) for n in range(12)]
        partition = run_of(desk, "r")
        async for batch in desk.source.read(partition, desk.positions["r"], desk):
            assert batch.position is None or batch.position["count"] >= 45
            desk.read_ids["r"].update(ids(batch.events))
            break
        await read(desk)

    assert desk.positions["r"] == {"count": 37}
    assert len(desk.read_ids["r"]) == 57


# ── a run that was closed ───────────────────────────────────────────────────────────────────────


def close(desk: Desk, rows: list[Any]) -> None:
    """Forget what a host forgets of a run that is over."""
    desk.open_partitions = {}
    desk.forgotten["r"] = len(rows) - KEPT_IDS
    desk.read_ids["r"] = set(names(rows)[-KEPT_IDS:])


def test_as_many_ids_are_counted_on_as_are_kept() -> None:
    assert progress.KEPT == KEPT_IDS


@pytest.mark.parametrize("size", [100, 30])
@pytest.mark.parametrize("new", [0, 3, 130])
async def test_a_run_that_was_closed_is_read_on_from_its_count(size: int, new: int) -> None:
    rows = [row(n) for n in range(260)]
    async with Odd(answer=listed(rows)) as server, opened(server.url, page_size=size) as desk:
        await read(desk)
        close(desk, rows)
        rows += [row(1_000 + n) for n in range(new)]
        asked(server)

        assert ids(await desk.read("r")) == names(rows)[260:]
        assert asked(server) == list(range(259 // size + 1, (260 + new - 1) // size + 2))
        rows.insert(260, {**row(259), "id": "late"})
        assert await read(desk) == ["late"]
    assert desk.positions["r"] == {"count": len(rows), "floor": 260}


async def test_a_run_that_was_closed_and_lost_events_is_not_read_twice() -> None:
    rows = [row(n) for n in range(260)]
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        await read(desk)
        close(desk, rows)
        del rows[:50]
        rows += [row(1_000 + n) for n in range(5)]

        assert ids(await desk.read("r")) == names(rows)[-5:]
    assert desk.positions["r"] == {"count": 215, "floor": 215}


# ── what is not there ───────────────────────────────────────────────────────────────────────────


async def test_a_page_beyond_the_end_may_be_404() -> None:
    rows = [row(n) for n in range(20)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        beyond = int(request.query["page"]) * 10 - 10 >= len(rows)
        return (NOT_FOUND if beyond else pages)(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        await read(desk)
        assert await read(desk) == []
        del rows[:15]
        assert await read(desk) == []
        assert asked(server) == [1, 2, 2, 2, 1]
    assert desk.positions["r"] == {"count": 5}


async def test_a_run_that_goes_during_a_read_is_gone_on_the_next() -> None:
    pages = listed([row(n) for n in range(25)])

    def answer(request: RecordedRequest) -> Response:
        return (NOT_FOUND if len(server.requests) > 2 else pages)(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        with pytest.raises(Retry, match="but the page before it is there"):
            await read(desk)
        with pytest.raises(Gone):
            await read(desk)
        assert asked(server) == [1, 2, 3, 2, 1]
    assert len(desk.read_ids["r"]) == 20


async def test_a_page_that_ought_to_be_there_is_tried_again_later() -> None:
    rows = [row(n) for n in range(25)]
    pages = listed(rows)
    missing = False

    def answer(request: RecordedRequest) -> Response:
        return (NOT_FOUND if missing and request.query["page"] == "3" else pages)(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        await read(desk)
        missing = True
        with pytest.raises(Retry, match="with its last known event is not there"):
            await read(desk)


# ── odd rows ────────────────────────────────────────────────────────────────────────────────────


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
        first = await desk.batches(run_of(desk, "r"))
        items += [good[2], b"5"]
        second = await desk.batches(run_of(desk, "r"))
        third = await desk.batches(run_of(desk, "r"))

    assert [ids(each.events) for each in (*first, *second) if each.events] == [["e0", "e1"], ["e2"]]
    assert sum(len(each.rejected) for each in first) == 2
    assert sum(len(each.rejected) for each in second) == 1
    assert third == []
    assert desk.positions["r"] == {"count": 6}


@pytest.mark.parametrize(
    "time",
    [
        "2026-03-02T09:00:00.000Z",
        "2026-03-02T06:00:00-03:00",
        "2026-03-02T09:00:00.000000Z",
        "1772442000",
        1772442000,
    ],
    ids=repr,
)
async def test_a_time_may_be_written_in_several_ways(time: Any) -> None:
    rows = [row(1, createdAt=time)]
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        (event,) = await desk.read("r")

    assert event.time == datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "quirks",
    [
        StevoraQuirks(integer_ids=True, null_payloads=True),
        StevoraQuirks(null_steps=True, extra_fields=True, unknown_types=True),
        StevoraQuirks(times="offset"),
        StevoraQuirks(times="unix"),
    ],
    ids=["integers", "nulls", "offset", "unix"],
)
async def test_odd_rows_lose_nothing(quirks: StevoraQuirks) -> None:
    world = StevoraWorld()
    run = world.add_run(events=25)
    async with StevoraServer(world, quirks=quirks) as stevora, opened(stevora.url) as desk:
        assert len(await desk.read(str(quirks.id(run.id)))) == 25


@pytest.mark.parametrize(
    "meta", [None, "x", {"total": "30"}, {"total": -1, "pageSize": 0}], ids=str
)
async def test_a_meta_that_cannot_be_used_does_no_harm(meta: Any) -> None:
    rows = [row(n) for n in range(30)]

    def answer(request: RecordedRequest) -> Response:
        page = int(request.query["page"])
        return says({"data": rows[page * 20 - 20 : page * 20], "meta": meta})(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=20) as desk:
        assert await read(desk) == names(rows)


def names(rows: list[Any]) -> list[str]:
    return [str(each["id"]) for each in rows]
