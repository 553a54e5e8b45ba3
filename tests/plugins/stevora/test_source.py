"""The source `stevora` as a whole: its options, and what it makes of refusals."""

from typing import Any

import pytest

from levada import ConfigError, Fatal, Gone, Partition, Retry, Secret
from levada.sandbox import StevoraServer, StevoraWorld
from levada_stevora.source import StevoraSource
from plugins.desk import Odd
from plugins.stevora.servers import asked, listed, opened, says

# ── options ─────────────────────────────────────────────────────────────────────────────────────


async def test_given_runs_are_read_without_asking_for_any() -> None:
    async with (
        StevoraServer(StevoraWorld()) as stevora,
        opened(stevora.url, runs=["b/c", "a", "a"]) as desk,
    ):
        *partitions, _ = await desk.discover()

        assert asked(stevora) == []
        assert partitions == [
            Partition("b/c", uri=f"{stevora.url}/v1/workflow-runs/b%2Fc"),
            Partition("a", uri=f"{stevora.url}/v1/workflow-runs/a"),
        ]


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
    "options",
    [{"page_size": 0}, {"page_size": 101}, {"runs": [""]}, {"definitions": ["a", ""]}],
    ids=str,
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        StevoraSource(api_key=Secret("k"), **options)


def test_a_base_url_and_a_key_that_no_request_can_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="must begin with https://"):
        StevoraSource(api_key=Secret("k"), base_url="api.stevora.dev")
    with pytest.raises(ConfigError, match="perhaps a line end"):
        StevoraSource(api_key=Secret("k\n"))


def test_the_key_is_not_in_its_repr() -> None:
    assert "s3cr3t" not in repr(StevoraSource(api_key=Secret("s3cr3t")))


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
