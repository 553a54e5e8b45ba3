from datetime import timedelta

import pytest

from levada import (
    Closed,
    ConfigError,
    Disable,
    Failure,
    Fatal,
    Gone,
    LevadaError,
    PluginError,
    Problem,
    Reject,
    Retry,
    SinkError,
    SourceError,
    StateError,
    TooLarge,
)
from levada.errors import first_of


@pytest.mark.parametrize("error", [ConfigError, PluginError, SourceError, SinkError, StateError])
def test_an_error_of_ours_is_no_failure_of_a_connector(error: type[LevadaError]) -> None:
    assert issubclass(error, LevadaError)
    assert not issubclass(error, Failure)


@pytest.mark.parametrize("failure", [Retry, Reject, TooLarge, Disable, Closed, Gone, Fatal])
def test_what_a_connector_raises_is_an_error_of_ours(failure: type[Failure]) -> None:
    assert issubclass(failure, LevadaError)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("is missing"), "is missing"),
        (Problem("is missing", path="sinks.a.path"), "sinks.a.path: is missing"),
        (Problem("is odd", path="a", file="p.toml", line=3), "p.toml:3: a: is odd"),
        (Problem("is empty", file="p.toml"), "p.toml: is empty"),
    ],
    ids=["text", "path", "line", "file"],
)
def test_a_problem_says_where_it_is(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_a_config_error_lists_every_problem() -> None:
    error = ConfigError("one thing", Problem("is missing", path="a"))

    assert error.problems == (Problem("one thing"), Problem("is missing", path="a"))
    assert str(error) == "one thing\na: is missing"


@pytest.mark.parametrize(
    ("distribution", "version", "text"),
    [
        (None, None, "plugin 'acme' cannot be loaded"),
        ("levada-acme", None, "plugin 'acme' (levada-acme) cannot be loaded"),
        ("levada-acme", "1.2", "plugin 'acme' (levada-acme 1.2) cannot be loaded"),
    ],
    ids=["name", "package", "version"],
)
def test_a_plugin_error_names_the_package(
    distribution: str | None, version: str | None, text: str
) -> None:
    error = PluginError("acme", "cannot be loaded", distribution=distribution, version=version)

    assert str(error) == text


def test_a_connectors_error_names_it_as_the_pipeline_does() -> None:
    source = SourceError("runs", "401 from https://x.test", retryable=True)
    sink = SinkError("archive", "the disk failed", local=True)

    assert str(source) == "source 'runs': 401 from https://x.test"
    assert str(sink) == "sink 'archive': the disk failed"
    assert (source.retryable, sink.local) == (True, True)


def test_a_retry_leaves_the_wait_to_the_host_unless_it_says() -> None:
    assert (Retry("503").after, Retry("503").everywhere) == (None, False)
    assert Retry("429", after=timedelta(seconds=3)).after == timedelta(seconds=3)


def test_a_rejection_says_each_reason_once() -> None:
    reject = Reject({("a", "1"): "422", ("a", "2"): "422", ("b", "1"): "413"}, receipt=7)

    assert str(reject) == "422; 413"
    assert reject.receipt == 7


def test_the_first_error_of_a_group_of_groups_is_found() -> None:
    first, second = ValueError("first"), ValueError("second")
    group = BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [first]), second])

    assert first_of(group) is first


def test_of_a_long_reason_the_beginning_is_told() -> None:
    rejected = Reject({("run-1", "evt-1"): "x" * 9000})

    assert len(str(Retry("x" * 9000))) == len(rejected.reasons["run-1", "evt-1"]) == 8001
