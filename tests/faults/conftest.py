from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.upstream import VENDORS, Upstream, upstream


@pytest.fixture(params=VENDORS)
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upstream]:
    with upstream(request.param, tmp_path) as running:
        yield running
