"""The source `kapso`: what it refuses, and its options."""

from typing import Any

import pytest

from levada import ConfigError, Fatal, Gone, Retry, Secret
from levada.sandbox import KapsoServer, KapsoWorld
from levada_kapso.source import KapsoSource
from plugins.desk import Odd
from plugins.kapso.servers import listed, opened, says


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
            await desk.read(listed("x"))


@pytest.mark.parametrize(
    ("status", "failure"), [(404, Gone), (400, Fatal), (402, Fatal), (422, Fatal), (500, Retry)]
)
async def test_what_a_status_of_the_events_means(status: int, failure: type[Exception]) -> None:
    async with (
        Odd(answer=says({"error": "because"}, status=status)) as server,
        opened(server.url) as desk,
    ):
        with pytest.raises(failure):
            await desk.read(listed("x"))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>welcome</html>", b'{"error":"?"}', b'{"data":[{"id":"a"'],
    ids=["empty", "html", "error", "cut"],
)
async def test_anything_but_a_page_is_tried_again_later(body: bytes) -> None:
    async with Odd(answer=says(body=body)) as server, opened(server.url) as desk:
        with pytest.raises(Retry, match="is not the JSON that was expected"):
            await desk.read(listed("x"))


def test_the_identity_is_the_base_url_however_it_is_written() -> None:
    written = ("https://x.example", "https://x.example/platform/v1/")

    sources = [KapsoSource(api_key=Secret("k"), base_url=url) for url in written]

    assert {source.identity() for source in sources} == {"https://x.example/platform/v1"}


@pytest.mark.parametrize(
    "options",
    [{"page_size": 0}, {"page_size": 101}, {"workflows": [""]}, {"executions": ["a", ""]}],
    ids=str,
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        KapsoSource(api_key=Secret("k"), **options)


def test_a_base_url_and_a_key_that_no_request_can_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="must begin with https://"):
        KapsoSource(api_key=Secret("k"), base_url="api.kapso.ai")
    with pytest.raises(ConfigError, match="perhaps a line end"):
        KapsoSource(api_key=Secret("k\n"))


def test_the_key_is_not_in_its_repr() -> None:
    assert "s3cr3t" not in repr(KapsoSource(api_key=Secret("s3cr3t")))
