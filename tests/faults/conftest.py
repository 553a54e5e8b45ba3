"""A vendor to misbehave. In `nox -s faults` the rows of a table take turns at the two.

Both see every row in `nox -s nightly`: what is met here is mostly the same code.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.upstream import VENDORS, Upstream, upstream


@pytest.fixture(params=VENDORS)
def up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Upstream]:
    with upstream(request.param, tmp_path) as running:
        yield running


@pytest.hookimpl(tryfirst=True)  # before those of the night are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rows: dict[str, list[object]] = defaultdict(list)
    for item in items:
        if not isinstance(item, pytest.Function) or item.get_closest_marker("faults") is None:
            continue
        if not hasattr(item, "callspec") or "up" not in item.callspec.params:
            continue
        of_one = rows[item.function.__qualname__]
        row = {name: value for name, value in item.callspec.params.items() if name != "up"}
        if row not in of_one:
            of_one.append(row)
        if VENDORS[of_one.index(row) % 2] != item.callspec.params["up"]:
            item.add_marker(pytest.mark.nightly)
