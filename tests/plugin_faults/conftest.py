import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.test_cli_process import STARTED, Desk
from plugin_faults.site import Site


@pytest.fixture(autouse=True)
def nothing_keeps_running() -> Iterator[None]:
    """End the processes that a test which failed has left behind."""
    yield
    while STARTED:
        with STARTED.pop() as process:
            process.kill()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a well-behaved source, `numbers`."""
    folder = tmp_path / "site"
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    site = Site(folder, Desk(tmp_path, {"PYTHONPATH": path}))
    site.source("numbers")
    return site
