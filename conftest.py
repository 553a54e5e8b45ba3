"""Runs the Python examples in README.md and docs/ as tests, each page in a folder of its own."""

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `faults`, unless ``-m`` asks for it."""
    if "faults" in config.option.markexpr:
        return
    slow = [each for each in items if each.get_closest_marker("faults")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [each for each in items if not each.get_closest_marker("faults")]
