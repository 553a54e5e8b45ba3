"""The exit codes are a promise to scripts: each value and each precedence is written down here."""

from typing import Any

import pytest

from levada import ConfigError, LevadaError, PluginError, Report, SinkError, SourceError, StateError
from levada.cli.exit_codes import ExitCode, of_error, of_report, worst
from levada.report import SinkReport, SourceReport

TABLE = {
    "DONE": 0,
    "BUG": 1,
    "USAGE": 2,
    "PLUGIN": 3,
    "UPSTREAM": 4,
    "SINK": 5,
    "STATE": 6,
    "STRICT": 7,
    "LOCAL_IO": 74,
    "GAVE_UP": 75,
    "INTERRUPTED": 130,
    "TERMINATED": 143,
}


def source(**changes: Any) -> SourceReport:
    counts = {"partitions": 1, "reads": 1, "events": 1, "rejected": 0, "requests": 1}
    return SourceReport(**{"name": "a", "connector": "a", "failures": {}, **counts, **changes})


def sink(**changes: Any) -> SinkReport:
    counts = {"delivered": 1, "dead": 0, "filtered": 0, "pending": 0}
    return SinkReport(**{"name": "b", "connector": "b", "condition": "active", **counts, **changes})


def report(*parts: SourceReport | SinkReport) -> Report:
    return Report(
        [part for part in parts if isinstance(part, SourceReport)],
        [part for part in parts if isinstance(part, SinkReport)],
        "done",
        1.0,
    )


def test_the_table() -> None:
    assert {code.name: code.value for code in ExitCode} == TABLE
    assert all(code.meaning for code in ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (PluginError("x", "y"), 3),
        (SourceError("x", "y"), 4),
        (SourceError("x", "y", retryable=True), 75),
        (SinkError("x", "y"), 5),
        (SinkError("x", "y", local=True), 74),
        (StateError("x"), 6),
        (OSError("x"), 74),
        (RuntimeError("x"), 1),
        (LevadaError("x"), 1),
    ],
)
def test_of_an_error(error: Exception, code: int) -> None:
    assert of_error(error) == code


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (source(), 0),
        (source(failures={"p": "why"}), 75),
        (source(error=SourceError("a", "401")), 4),
        (source(rejected=1), 0),
        (sink(), 0),
        (sink(condition="failing"), 75),
        (sink(condition="disabled"), 5),
        (sink(condition="closed"), 0),
        (sink(condition="stopped", error=SinkError("b", "gone")), 5),
        (sink(condition="stopped", error=SinkError("b", "disk", local=True)), 74),
        (sink(dead=1), 0),
    ],
)
def test_of_a_report(part: SourceReport | SinkReport, code: int) -> None:
    assert of_report(report(part)) == code


@pytest.mark.parametrize("part", [source(rejected=1), sink(dead=1)], ids=["rejected", "dead"])
def test_strict_makes_dead_letters_count(part: SourceReport | SinkReport) -> None:
    assert of_report(report(part), strict=True) == 7


def test_of_several_the_first_in_the_order_counts() -> None:
    by_value = {code.value: code for code in ExitCode}
    order = [by_value[value] for value in (6, 3, 4, 5, 74, 75, 7)]

    for place, code in enumerate(order):
        assert worst(reversed(order[place:])) is code
    assert worst([]) is ExitCode.DONE
