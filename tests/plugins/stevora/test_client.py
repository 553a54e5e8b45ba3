import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

import levada_stevora
from levada import Retry, Secret
from levada.sandbox import RecordedRequest, Response
from levada_stevora.client import StevoraClient, normal_url, run_path
from levada_stevora.pages import Rows
from levada_stevora.source import StevoraSource
from plugins.desk import Odd
from plugins.stevora.servers import opened, says


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("https://x", "https://x"),
        ("https://x/", "https://x"),
        ("https://x/v1", "https://x"),
        ("https://x/v1/", "https://x"),
        ("https://x/api", "https://x/api"),
        ("https://x/api/v1", "https://x/api"),
        ("http://localhost:3000/api/v1/", "http://localhost:3000/api"),
    ],
)
def test_a_base_url_may_be_written_in_several_ways(written: str, base: str) -> None:
    assert normal_url(written) == base


def test_an_id_is_quoted_whole() -> None:
    assert run_path("a/b?c d") == "/v1/workflow-runs/a%2Fb%3Fc%20d"


def test_the_hook_offers_the_source() -> None:
    assert list(levada_stevora.event_sources()) == [StevoraSource]


def test_importing_the_plugin_imports_no_source() -> None:
    code = "import sys, levada_stevora; sys.exit('levada_stevora.source' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ── a run by itself ─────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def client_of(
    answer: Callable[[RecordedRequest], Response],
) -> AsyncIterator[StevoraClient]:
    async with Odd(answer=answer) as server, opened(server.url) as desk:
        yield StevoraClient.connect(server.url, Secret("k"), desk, page_size=100)


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_run_that_cannot_be_asked_for_is_none(status: int) -> None:
    async with client_of(says({"success": False}, status=status)) as client:
        assert await client.run("r") is None


async def test_a_run_by_itself_shows_what_a_list_shows() -> None:
    answer = says({"success": True, "data": {"id": 7, "status": "WAITING", "stepRuns": []}})
    async with client_of(answer) as client:
        run = await client.run("7")

    assert run is not None
    assert (run.id, run.status, run.version) == (7, "WAITING", None)


@pytest.mark.parametrize("content", [{"success": False, "data": {"id": "r"}}, {"success": True}])
async def test_a_run_without_success_is_tried_again_later(content: Any) -> None:
    async with client_of(says(content)) as client:
        with pytest.raises(Retry, match="without success"):
            await client.run("r")


async def test_a_run_without_an_id_is_none() -> None:
    async with client_of(says({"success": True, "data": {"status": "WAITING"}})) as client:
        assert await client.run("r") is None


# ── the place of a page ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rows", "total", "is_last"),
    [
        (10, 21, False),
        (10, 20, True),
        (10, 19, False),  # an older count: this page alone has more
        (9, 18, True),
        (9, 21, False),  # a page may be shorter than it should be
        (0, 99, True),
        (10, None, False),
        (3, None, False),
        (0, None, True),
    ],
)
def test_which_page_is_the_last(rows: int, total: int | None, is_last: bool) -> None:
    page = Rows([msgspec.Raw(b"1")] * rows, total, number=2, size=10)

    assert (page.offset, page.is_last) == (10, is_last)
