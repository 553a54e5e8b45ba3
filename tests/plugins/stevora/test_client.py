import subprocess
import sys

import pytest

import levada_stevora
from levada_stevora.client import normal_url, run_path
from levada_stevora.source import StevoraSource


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
