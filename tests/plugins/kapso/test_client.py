import subprocess
import sys

import msgspec
import pytest

import levada_kapso
from levada_kapso.client import execution_path, normal_url
from levada_kapso.rows import Meta, Page, Paging
from levada_kapso.source import KapsoSource


@pytest.mark.parametrize(
    "written",
    [
        "https://api.kapso.ai",
        "https://api.kapso.ai/",
        "https://api.kapso.ai/platform/v1",
        "https://api.kapso.ai/platform/v1/",
        "https://api.kapso.ai//platform/v1//",
    ],
)
def test_a_base_url_may_be_written_in_several_ways(written: str) -> None:
    assert normal_url(written) == "https://api.kapso.ai/platform/v1"


def test_an_id_is_quoted_whole() -> None:
    assert execution_path("a/b?c d") == "/workflow_executions/a%2Fb%3Fc%20d"


@pytest.mark.parametrize(
    ("paging", "meta", "query"),
    [
        (Paging("eyJ2IjoxfQ=="), None, {"after": "eyJ2IjoxfQ=="}),
        (Paging("https://api.kapso.ai/x?limit=100&after=eyJ2%3D%3D"), None, {"after": "eyJ2=="}),
        (Paging("/x?after=a+b%2Fc"), None, {"after": "a+b/c"}),
        (Paging(7), None, {"after": "7"}),
        (Paging(None), None, None),
        (None, None, None),
        (None, Meta(page=2, per_page=50, total_pages=3), {"page": 3, "per_page": 50}),
        (None, Meta(page=3, per_page=50, total_pages=3), None),
        (Paging(None), Meta(page=1, total_pages=3), None),
    ],
    ids=[
        "cursor",
        "url",
        "unquoted",
        "number",
        "null",
        "absent",
        "meta",
        "last meta",
        "null and meta",
    ],
)
def test_where_a_list_goes_on(
    paging: Paging | None, meta: Meta | None, query: dict[str, object] | None
) -> None:
    assert Page([], paging, meta).next_query() == query


def test_a_last_page_has_a_cursor_of_its_last_row_all_the_same() -> None:
    body = b'{"data":[],"paging":{"cursors":{"before":"a","after":"b"},"next":null}}'

    assert msgspec.json.decode(body, type=Page).next_query() is None


def test_the_hook_offers_the_source() -> None:
    assert list(levada_kapso.event_sources()) == [KapsoSource]


def test_importing_the_plugin_imports_no_source() -> None:
    code = "import sys, levada_kapso; sys.exit('levada_kapso.source' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
