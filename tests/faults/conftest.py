from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.upstream import VENDORS, Upstream, upstream

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `faults`, unless ``-m`` asks for it."""
    if "faults" in config.option.markexpr:
        return
    slow = [
        each for each in items if HERE in each.path.parents and each.get_closest_marker("faults")
    ]
    config.hook.pytest_deselected(items=slow)
    items[:] = [each for each in items if each not in set(slow)]


@pytest.fixture(params=VENDORS)
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upstream]:
    with upstream(request.param, tmp_path) as running:
        yield running
