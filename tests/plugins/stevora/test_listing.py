"""What the source `stevora` asks of the list of runs, and that it finds every new one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from attrs import define, field

from levada import Checkpoint, Fatal, Json, Retry
from levada.sandbox import RecordedRequest, Response, StevoraServer, StevoraWorld
from plugins.desk import Desk, Odd
from plugins.stevora.servers import DAY, NOT_FOUND, USED, asked, keys, listed, opened, says

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
Order = Literal["newest", "oldest", "none"]


@define
class Runs:
    """A list of completed runs, created one second after the other, in some order."""

    order: Order
    numbers: list[int] = field(factory=list)
    off: int = 0
    """So many more the total says there are."""

    used: str | None = None
    meta: dict[str, Any] = field(factory=dict)

    def answer(self, request: RecordedRequest) -> Response:
        numbers = sorted(self.numbers, reverse=self.order == "newest")
        if self.order == "none":
            numbers.sort(key=lambda n: n * 7_919 % 104_729)
        rows = [run(number) for number in numbers]
        total = {"total": len(rows) + self.off}
        return listed(rows, used=self.used, **(total | self.meta))(request)


def run(number: int, **more: Any) -> dict[str, Any]:
    created = (T0 + timedelta(seconds=number)).isoformat()
    return {"id": f"r{number}", "status": "COMPLETED", "createdAt": created, **more}


async def discover(desk: Desk, position: Json = None) -> tuple[list[str], Json]:
    """Make a pass and read what it yields; return the runs that were yielded, and the position."""
    *_, checkpoint = found = await desk.discover(position)
    assert isinstance(checkpoint, Checkpoint)
    for key in keys(found):
        desk.read_ids[key].add("event")
    return keys(found), checkpoint.position


def names(numbers: range) -> set[str]:
    return {f"r{n}" for n in numbers}


# ── the first look ──────────────────────────────────────────────────────────────────────────────


async def test_every_run_is_discovered_with_one_request_a_page() -> None:
    world = StevoraWorld.sample(runs=250, events=2)
    async with StevoraServer(world) as stevora, opened(stevora.url) as desk:
        found, _ = await discover(desk)

        assert sorted(found) == sorted(world.runs)
        assert asked(stevora) == [1, 2, 3]


async def test_a_run_that_moves_to_the_next_page_is_yielded_once() -> None:
    rows = [run(n) for n in range(5)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        response = pages(request)
        if request.query["page"] == "1":
            rows.insert(0, run(-1))
        return response

    async with Odd(answer=answer) as server, opened(server.url, page_size=2) as desk:
        assert keys(await desk.discover()) == ["r0", "r1", "r2", "r3", "r4"]


async def test_a_run_that_moves_to_the_page_before_is_found_there() -> None:
    rows = [run(n) for n in range(9, 0, -1)]
    pages = listed(rows)

    def answer(request: RecordedRequest) -> Response:
        response = pages(request)
        if len(server.requests) == 1:
            del rows[0]
        return response

    async with Odd(answer=answer) as server, opened(server.url, page_size=3) as desk:
        assert set(keys(await desk.discover())) == names(range(1, 10))
        assert asked(server) == [1, 2, 1, 3]


async def test_a_list_without_a_total_ends_with_an_empty_page() -> None:
    rows = [run(n) for n in range(4)]
    async with (
        Odd(answer=listed(rows, total=None)) as server,
        opened(server.url, page_size=2) as desk,
    ):
        assert keys(await desk.discover()) == ["r0", "r1", "r2", "r3"]
        assert asked(server) == [1, 2, 3]


async def test_a_page_that_has_shown_something_again_is_doubted_as_at_first() -> None:
    runs, is_down = Runs("newest", [1, 2, 3]), True

    def answer(request: RecordedRequest) -> Response:
        if is_down and request.query["page"] == "2":
            return listed([], total=len(runs.numbers))(request)
        return runs.answer(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=1) as desk:
        await refused(desk, times=3)
        found, position = await discover(desk)  # it is believed at last
        assert found == ["r3"]

        is_down = False
        found, position = await discover(desk, position)
        assert found == ["r3", "r2", "r1"]

        is_down, runs.numbers = True, [1, 2, 3, 4, 5]
        await refused(desk, position, times=3)


async def test_a_page_of_one_list_says_nothing_of_that_of_another() -> None:
    by_definition = {"a": Runs("newest", [1, 2]), "b": Runs("newest", [3, 4])}

    def answer(request: RecordedRequest) -> Response:
        if (definition := request.query.get("definitionId")) is None:
            return listed([run(4)])(request)
        if request.query["page"] == "2":
            return listed([], total=2)(request)
        return by_definition[definition].answer(request)

    async with (
        Odd(answer=answer) as server,
        opened(server.url, page_size=1, definitions=["a", "b"]) as desk,
    ):
        await refused(desk, times=6)  # three for each
        assert keys(await desk.discover()) == ["r2", "r4"]


async def refused(desk: Desk, position: Json = None, *, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Retry, match="page 2 shows no runs"):
            await desk.discover(position)


async def test_a_list_that_ignores_the_page_is_not_asked_for_ever() -> None:
    answer = says({"data": [run(1), run(2)]})
    async with Odd(answer=answer) as server, opened(server.url, page_size=2) as desk:
        assert keys(await desk.discover()) == ["r1", "r2"]
        assert asked(server) == [1, 2, 3]


async def test_a_row_that_cannot_be_read_is_reported() -> None:
    rows = [run(1), {"status": "RUNNING"}, run(2)]
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        assert keys(await desk.discover()) == ["r1", "r2"]

    assert desk.reports == [("run.unreadable", {"reason": "an item without a usable id"})]


async def test_without_a_list_of_runs_they_must_be_given() -> None:
    async with Odd(answer=NOT_FOUND) as server, opened(server.url) as desk:
        with pytest.raises(Fatal, match=r"if base_url is right, list the ids: runs = \[\.\.\.\]"):
            await desk.discover()


# ── what is new ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("order", "new", "pages"),
    [
        ("newest", 0, [1]),
        ("newest", 9, [1]),
        ("newest", 10, [1, 2]),
        ("newest", 25, [1, 2, 3]),
        ("oldest", 0, [4]),
        ("oldest", 5, [4]),
        ("oldest", 6, [4, 5]),
        ("oldest", 25, [4, 5, 6]),
        ("none", 0, [1]),
        ("none", 1, [1, 2, 3, 4]),
    ],
)
async def test_new_runs_are_found_in_few_requests(order: Order, new: int, pages: list[int]) -> None:
    runs = Runs(order, list(range(35)))
    async with Odd(answer=runs.answer) as server, opened(server.url, page_size=10) as desk:
        _, position = await discover(desk)
        asked(server)
        runs.numbers += range(100, 100 + new)

        found, _ = await discover(desk, position)

        assert names(range(100, 100 + new)) <= set(found)
        assert asked(server) == pages


@pytest.mark.parametrize(
    "meta", [{}, {"pageSize": None}, {"pageSize": None, "total": None}], ids=str
)
@pytest.mark.parametrize("count", [8, 13, 20, 95])
@pytest.mark.parametrize("used", USED)
@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_may_be_of_another_size_than_the_server_says(
    order: Order, used: str, count: int, meta: dict[str, Any]
) -> None:
    runs = Runs(order, list(range(count)), used=used, meta=meta)
    async with Odd(answer=runs.answer) as server:
        async with opened(server.url, page_size=20) as desk:
            found, position = await discover(desk)
            assert set(found) == names(range(count))
            known = desk.read_ids
        for new in (1, 3, 17):
            first = 1_000 * new
            runs.numbers += range(first, first + new)
            async with opened(server.url, page_size=20) as desk:
                desk.read_ids = known
                found, position = await discover(desk, position)
                assert names(range(first, first + new)) <= set(found)


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_a_run_that_shows_late_is_found_however_deep(order: Order) -> None:
    runs = Runs(order, list(range(0, 90, 2)))
    async with Odd(answer=runs.answer) as server, opened(server.url, page_size=10) as desk:
        _, position = await discover(desk)
        for late in (87, 61, 1):
            runs.numbers.append(late)
            found, position = await discover(desk, position)
            assert f"r{late}" in found
        asked(server)
        await discover(desk, position)
        assert len(asked(server)) == 1


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize(("deleted", "new"), [(1, 0), (1, 1), (3, 14), (12, 12), (30, 2)])
async def test_new_runs_are_found_though_others_were_deleted(
    order: Order, deleted: int, new: int
) -> None:
    runs = Runs(order, list(range(45)))
    async with Odd(answer=runs.answer) as server, opened(server.url, page_size=10) as desk:
        _, position = await discover(desk)
        del runs.numbers[:deleted]
        runs.numbers += range(100, 100 + new)

        found, position = await discover(desk, position)
        assert names(range(100, 100 + new)) <= set(found)
        for more in range(200, 203):
            runs.numbers.append(more)
            asked(server)
            found, position = await discover(desk, position)
            assert f"r{more}" in found
            assert len(asked(server)) <= 2


async def test_a_total_that_is_too_high_is_looked_into_once() -> None:
    runs = Runs("newest", list(range(45)))
    async with Odd(answer=runs.answer) as server, opened(server.url, page_size=10) as desk:
        _, position = await discover(desk)
        runs.off = 2
        asked(server)
        _, position = await discover(desk, position)
        assert asked(server) == [1, 2, 3, 4, 5]

        for off in (2, 0, -1, 2, 1):
            runs.off = off
            _, position = await discover(desk, position)
        assert asked(server) == [1] * 5


async def test_a_list_without_a_total_is_read_until_something_known() -> None:
    runs = [run(n) for n in range(40, 0, -1)]
    async with (
        Odd(answer=listed(runs, total=None)) as server,
        opened(server.url, page_size=10) as desk,
    ):
        _, position = await discover(desk)
        runs[:0] = [run(n) for n in range(112, 100, -1)]
        asked(server)

        found, position = await discover(desk, position)
        assert names(range(101, 113)) <= set(found)
        assert asked(server) == [1, 2]


async def test_the_end_of_a_list_may_be_404() -> None:
    runs = Runs("oldest", list(range(40)))

    def answer(request: RecordedRequest) -> Response:
        beyond = int(request.query["page"]) * 10 - 10 >= len(runs.numbers)
        return (NOT_FOUND if beyond else runs.answer)(request)

    async with Odd(answer=answer) as server, opened(server.url, page_size=10) as desk:
        _, position = await discover(desk)
        del runs.numbers[:25]
        runs.numbers += [100, 101]
        asked(server)

        found, _ = await discover(desk, position)

        assert {"r100", "r101"} <= set(found)
        assert asked(server) == [4, 3, 2]


async def test_a_list_in_no_order_is_reported_once() -> None:
    runs = Runs("none", list(range(30)))
    async with Odd(answer=runs.answer) as server, opened(server.url, page_size=10) as desk:
        _, position = await discover(desk)
        runs.numbers.append(50)
        await discover(desk, position)

    assert desk.reports == [("list.unordered", {"definition": None})]


async def test_the_position_does_not_grow_with_the_number_of_runs() -> None:
    sizes = []
    for total in (200, 2_000):
        runs = Runs("newest", list(range(1_000, 1_000 + total)))
        async with Odd(answer=runs.answer) as server, opened(server.url) as desk:
            _, position = await discover(desk)
            sizes.append(len(str(position)))

    assert abs(sizes[1] - sizes[0]) < 10
    assert max(sizes) < 2_000


# ── what is forgotten ───────────────────────────────────────────────────────────────────────────


def days(*created: float) -> list[dict[str, Any]]:
    return [run(round(each * 86_400)) for each in created]


async def test_runs_a_week_older_than_the_newest_are_settled() -> None:
    rows = days(30, 29, 20, 10, 0)
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        found, position = await discover(desk)
        *_, checkpoint = await desk.discover(position)

        assert len(found) == 5
        assert isinstance(checkpoint, Checkpoint)
        assert checkpoint.settled == T0 + 23 * DAY


async def test_a_settled_run_is_yielded_again_only_while_it_is_open() -> None:
    rows = days(30, 29, 20, 10, 0)
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        found, position = await discover(desk)
        desk.open_partitions = {
            each.key: each for each in await desk.discover() if not isinstance(each, Checkpoint)
        }
        desk.open_partitions = {found[3]: desk.open_partitions[found[3]]}

        again, _ = await discover(desk, position)
        assert again == [found[0], found[1], found[3]]


async def test_a_settled_run_that_goes_on_is_reported() -> None:
    rows = days(30, 0)
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        _, position = await discover(desk)
        rows[1]["status"] = "RUNNING"

        assert (await discover(desk, position))[0] == [rows[0]["id"]]
    assert desk.reports == [("run.forgotten", {"partition": "r0"})]


async def test_a_run_created_in_the_future_settles_nothing_before_its_time() -> None:
    rows = days(30_000, 0)
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        *_, checkpoint = await desk.discover()

    assert isinstance(checkpoint, Checkpoint)
    assert isinstance(checkpoint.settled, datetime)
    assert checkpoint.settled < datetime.now(UTC)


# ── definitions ─────────────────────────────────────────────────────────────────────────────────


def of(*definitions: str | None) -> Callable[[RecordedRequest], Response]:
    """Serve runs of definitions in turn, the newest first; None does not show its own."""
    rows = [
        run(n, definitionId=definitions[n % len(definitions)], d="ab"[n % 2])
        for n in range(59, -1, -1)
    ]

    def answer(request: RecordedRequest) -> Response:
        wanted = request.query.get("definitionId")
        return listed([each for each in rows if wanted in {None, each["definitionId"], each["d"]}])(
            request
        )

    return answer


def lists(server: Odd) -> list[str]:
    found = [
        f"{request.query.get('definitionId', 'all')} {request.query['page']}"
        for request in server.requests
    ]
    server.requests.clear()
    return found


async def test_one_definition_narrows_every_list() -> None:
    async with (
        Odd(answer=of("a", "b")) as server,
        opened(server.url, definitions=["a", "a"], page_size=20) as desk,
    ):
        found, position = await discover(desk)
        assert len(found) == 30
        assert lists(server) == ["a 1", "a 2"]
        await discover(desk, position)
        assert lists(server) == ["a 1"]


async def test_several_definitions_share_the_list_of_all_runs() -> None:
    async with (
        Odd(answer=of("a", "b", "c")) as server,
        opened(server.url, definitions=["a", "b"], page_size=30) as desk,
    ):
        found, position = await discover(desk)
        assert len(found) == 40
        assert lists(server) == ["all 1", "all 2"]
        assert len((await discover(desk, position))[0]) == 20
        assert lists(server) == ["all 1"]


async def test_the_history_of_a_few_definitions_is_read_from_their_own_lists() -> None:
    async with (
        Odd(answer=of("a", "b", "c", "d", "e", "f")) as server,
        opened(server.url, definitions=["a", "b"], page_size=10) as desk,
    ):
        found, position = await discover(desk)
        assert len(found) == 20
        assert lists(server) == ["all 1", "a 1", "a 2", "a 3", "b 1", "b 2", "b 3"]
        await discover(desk, position)
        assert lists(server) == ["all 1"]


async def test_runs_that_do_not_show_their_definition_are_listed_by_it() -> None:
    async with (
        Odd(answer=of(None)) as server,
        opened(server.url, definitions=["a", "b"], page_size=50) as desk,
    ):
        found, position = await discover(desk)
        assert len(found) == 60
        assert lists(server) == ["all 1", "a 1", "b 1"]
        await discover(desk, position)
        assert lists(server) == ["a 1", "b 1"]


async def test_a_definition_that_is_added_is_read_from_its_first_run_on() -> None:
    rows = [
        run(round(day * 86_400), definitionId="ab"[day % 2]) for day in (30, 29, 28, 11, 10, 1, 0)
    ]
    async with Odd(answer=listed(rows)) as server:
        async with opened(server.url, definitions=["a", "c"]) as desk:
            found, position = await discover(desk)
            assert len(found) == 4
        async with opened(server.url, definitions=["a", "b"]) as desk:
            found, position = await discover(desk, position)
            assert found == [each["id"] for each in rows if each not in rows[4:7:2]]
            assert len((await discover(desk, position))[0]) == 3


# ── the workspace ───────────────────────────────────────────────────────────────────────────────


async def test_the_state_of_one_workspace_is_not_mixed_with_another() -> None:
    async with StevoraServer(StevoraWorld.sample()) as stevora, opened(stevora.url) as desk:
        _, position = await discover(desk)
        assert position["workspace"] == stevora.world.workspace_id

        stevora.world.workspace_id = "ws_other"
        with pytest.raises(Fatal, match="the API key is for workspace ws_other"):
            await desk.discover(position)


async def test_a_position_of_an_older_version_keeps_its_workspace() -> None:
    old = {"at": "2026-03-02T09:00:00+00:00", "workspace": "ws_1"}
    rows = [run(1, workspaceId="ws_2")]
    async with Odd(answer=listed(rows)) as server, opened(server.url) as desk:
        with pytest.raises(Fatal, match="the state is of workspace ws_1"):
            await desk.discover(old)
