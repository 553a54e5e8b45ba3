"""A third party's test module, run by plain pytest in a process of its own."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

MODULE = """
from datetime import UTC, datetime
from typing import ClassVar

from attrs import define
from levada import Batch, Event, Source
from levada.testing import SourceContract

IDS = ["e1", "e2", "e3"]


@define
class Listing(Source):
    "Reads a list."

    name: ClassVar[str] = "listing"

    async def read(self, partition, position, ctx):
        for number, name in enumerate(IDS[position or 0 :], (position or 0) + 1):
            time = datetime(2026, 1, number, tzinfo=UTC)
            raw = b'{"id": "%b"}' % name.encode()
            event = Event(name, type="added", time=time, partition=partition.key, raw=raw)
            yield Batch([event], position=number)
            yield Batch(())


class TestListing(SourceContract):
    test_is_offered_under_its_name = None  # it is in no package

    def make(self):
        return Listing()

    def expected(self):
        return [("", name) for name in IDS]
"""


def pytest_on(folder: Path, module: str) -> str:
    (folder / "test_listing.py").write_text(dedent(module))
    plain = ["-p", "no:asyncio", "-p", "no:timeout", "-p", "no:cacheprovider", "-W", "error"]
    command = [sys.executable, "-m", "pytest", "-q", "-rs", *plain, "test_listing.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


def test_a_good_connector_passes_and_is_told_what_was_left_out(tmp_path: Path) -> None:
    output = pytest_on(tmp_path, MODULE)

    assert "define grow() to have this checked" in output
    assert "16 passed, 2 skipped" in output.splitlines()[-1]


def test_a_failure_says_what_to_do_and_hides_the_kit(tmp_path: Path) -> None:
    output = pytest_on(tmp_path, MODULE.replace("tzinfo=UTC", "tzinfo=None"))

    assert "which is not an aware datetime; call .astimezone(UTC)" in output
    assert "def require(" not in output


def test_the_kit_does_not_import_pytest() -> None:
    code = "import sys, levada.testing; sys.exit('pytest' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
