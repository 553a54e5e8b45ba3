"""What holds for every test.

The Python examples in README.md and docs/ are run as tests, each page in a folder of its own.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

collect_ignore = [
    "docs/_build",
    "docs/examples",
]  # the examples are packages with tests of their own

ON_DEMAND = {"faults": ("faults", "nightly"), "nightly": ("nightly",), "root": ("root",)}
"""Marks, and what asks for each: by night faults are met too."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes or needs root, unless ``-m`` asks for it."""
    asked = config.option.markexpr
    unwanted = [name for name, words in ON_DEMAND.items() if not any(it in asked for it in words)]
    left_out = {item for item in items if any(map(item.get_closest_marker, unwanted))}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _enter(namespace: dict[str, Any]) -> None:
    namespace["_outside"] = Path.cwd(), dict(os.environ), TemporaryDirectory()
    os.chdir(namespace["_outside"][2].name)


def _leave(namespace: dict[str, Any]) -> None:
    folder, environment, scratch = namespace["_outside"]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    scratch.cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["*.md"],
    setup=_enter,
    teardown=_leave,
).pytest()
