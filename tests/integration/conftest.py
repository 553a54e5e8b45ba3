from collections.abc import Iterator

import pytest

from integration.test_cli_process import STARTED


@pytest.fixture(autouse=True)
def nothing_keeps_running() -> Iterator[None]:
    """End the processes that a test which failed has left behind."""
    yield
    while STARTED:
        with STARTED.pop() as process:  # closes its pipes
            process.kill()
