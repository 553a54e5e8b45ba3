"""Which executions the source `kapso` shows, and which lists it asks for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from levada import Checkpoint, Fatal, Partition
from levada.sandbox import KapsoServer, KapsoWorld, RecordedRequest, Response
from plugins.desk import Odd
from plugins.kapso.servers import asked, opened, says


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
        memo={"workflow": execution.workflow.id, "status": "ended"},
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


async def test_of_given_workflows_only_these_are_listed() -> None:
    world = KapsoWorld.sample(workflows=3)
    first, second, _ = world.workflows
    async with KapsoServer(world) as kapso, opened(kapso.url, workflows=[second, first]) as desk:
        await desk.discover()

        assert asked(kapso) == [
            "/workflows",
            f"/workflows/{second}/executions limit=100",
            f"/workflows/{first}/executions limit=100",
        ]


async def test_a_single_given_workflow_is_listed_without_asking_for_all() -> None:
    world = KapsoWorld.sample(workflows=3)
    first, *_ = world.workflows
    async with KapsoServer(world) as kapso, opened(kapso.url, workflows=[first]) as desk:
        await desk.discover()

        assert asked(kapso) == [f"/workflows/{first}/executions limit=100"]


async def test_where_there_is_no_list_of_workflows_given_ones_do_without_it() -> None:
    def answer(request: RecordedRequest) -> Response:
        if request.segments[-1] == "workflows":
            return says({"error": "Not found"}, status=404)(request)
        return says({"data": [], "paging": {"next": None}})(request)

    async with Odd(answer=answer) as server, opened(server.url, workflows=["a", "b"]) as desk:
        checkpoint = (await desk.discover())[-1]
        assert isinstance(checkpoint, Checkpoint)
        asked(server)
        await desk.discover(checkpoint.position)

        assert [each.partition(" ")[0] for each in asked(server)] == [
            "/workflows/a/executions",
            "/workflows/b/executions",
        ]
    assert [what for what, _ in desk.reports] == ["route.missing"]


@pytest.mark.parametrize(
    ("ago", "again"),
    [(timedelta(hours=1), False), (timedelta(days=2), True), (timedelta(days=-365), True)],
    ids=["lately", "long ago", "by a clock that was ahead"],
)
async def test_a_list_of_workflows_that_was_not_there_is_asked_for_again_after_a_day(
    ago: timedelta, *, again: bool
) -> None:
    world = KapsoWorld.sample(workflows=2)
    async with KapsoServer(world) as kapso, opened(kapso.url, workflows=world.workflows) as desk:
        checkpoint = (await desk.discover())[-1]
        assert isinstance(checkpoint, Checkpoint)
        assert isinstance(checkpoint.position, dict)
        asked(kapso)
        missing = {"workflows": (datetime.now(UTC) - ago).isoformat()}

        await desk.discover({**checkpoint.position, "missing": missing})

        assert ("/workflows" in asked(kapso)) == again


async def test_a_given_workflow_that_is_not_in_the_list_stops_the_source() -> None:
    world = KapsoWorld.sample()
    given = [*world.workflows, "nope"]
    async with KapsoServer(world) as kapso, opened(kapso.url, workflows=given) as desk:
        with pytest.raises(Fatal, match="no workflow 'nope'; is the id in `workflows` right"):
            await desk.discover()


async def test_given_executions_are_read_without_asking_for_any() -> None:
    async with (
        KapsoServer(KapsoWorld()) as kapso,
        opened(kapso.url, executions=["b/c", "a", "a"]) as desk,
    ):
        *partitions, checkpoint = await desk.discover()

        assert asked(kapso) == []
        assert [(each.key, each.uri) for each in partitions if isinstance(each, Partition)] == [
            ("b/c", f"{kapso.base_url}/workflow_executions/b%2Fc"),
            ("a", f"{kapso.base_url}/workflow_executions/a"),
        ]
        assert isinstance(checkpoint, Checkpoint)


async def test_a_given_execution_that_is_not_there_yet_is_asked_for_again() -> None:
    async with KapsoServer(KapsoWorld()) as kapso, opened(kapso.url, executions=["a"]) as desk:
        checkpoint = (await desk.discover())[-1]
        assert isinstance(checkpoint, Checkpoint)

        *partitions, _ = await desk.discover(checkpoint.position)

    assert [each.key for each in partitions if isinstance(each, Partition)] == ["a"]


async def test_given_executions_that_are_over_are_not_shown_again() -> None:
    world = KapsoWorld()
    done, running = world.add_execution(events=3), world.add_execution(events=3)
    world.end(done.id)
    given = [done.id, running.id]
    async with KapsoServer(world) as kapso, opened(kapso.url, executions=given) as desk:
        *partitions, checkpoint = await desk.discover()
        assert isinstance(checkpoint, Checkpoint)
        for each in partitions:
            assert isinstance(each, Partition)
            await desk.read(each)
        desk.open_partitions = {running.id: desk.learnt[running.id]}

        again, _ = await desk.discover(checkpoint.position)

    assert isinstance(again, Partition)
    assert (again.key, again.version) == (running.id, None)


async def test_without_a_list_of_workflows_they_must_be_given() -> None:
    answer = says({"error": "Not found"}, status=404)
    async with Odd(answer=answer) as server, opened(server.url) as desk:
        with pytest.raises(
            Fatal, match=r"if base_url is right, list the ids: workflows = \[\.\.\.\]"
        ):
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
