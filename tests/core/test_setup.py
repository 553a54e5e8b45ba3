import time
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define

from core.doubles import CollectingSink, ScriptedSource
from levada import ConfigError, Partition, PluginError, Settings, Setup
from levada.selection import Selection
from levada.setup import SinkSetup, SourceSetup


@define(slots=False, kw_only=True)
class FileLikeSink(CollectingSink):
    exclusive: ClassVar[bool] = True


def test_a_connector_has_its_own_name_and_account_unless_told_otherwise() -> None:
    source = SourceSetup.of(ScriptedSource(account="acme"))
    other = SourceSetup.of(ScriptedSource(), name="runs", account="")

    assert (source.name, source.account) == ("scripted", "acme")
    assert (other.name, other.account) == ("runs", "")


def test_a_source_that_does_not_say_what_it_is_for_long_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @define(slots=False)
    class Slow(ScriptedSource):
        def identity(self) -> str:
            time.sleep(60)
            return ""

    monkeypatch.setattr("levada.asking.LIMIT_S", 0.1)

    with pytest.raises(PluginError, match=r"took longer than 0\.1 s to return from identity\(\)"):
        SourceSetup.of(Slow())


def test_a_sink_wants_everything_unless_told_otherwise() -> None:
    sink = SinkSetup.of(CollectingSink())
    alerts = SinkSetup.of(CollectingSink(), name="alerts", only=["run.*"], excluded=["x"])

    assert (sink.name, sink.selection) == ("collecting", Selection())
    assert (alerts.name, alerts.selection) == ("alerts", Selection(["run.*"], excluded=["x"]))


def test_a_partition_without_an_address_gets_one_made_of_its_names() -> None:
    setup = SourceSetup.of(ScriptedSource(account="https://x.test/a b"))

    origin = setup.origin(Partition("run:1/ü"))

    assert origin.uri == "urn:levada:scripted:https%3A%2F%2Fx.test%2Fa%20b:run%3A1%2F%C3%BC"


def test_a_partition_keeps_its_own_address() -> None:
    origin = SourceSetup.of(ScriptedSource()).origin(Partition("1", uri="https://x.test/runs/1"))

    assert (origin.connector, origin.account, origin.uri) == (
        "scripted",
        "acme",
        "https://x.test/runs/1",
    )


def test_two_sources_cannot_have_one_name() -> None:
    source = SourceSetup.of(ScriptedSource())

    with pytest.raises(
        ConfigError, match="two sources are named 'scripted'; give one another name"
    ):
        Setup([source, source], [])


def test_two_sinks_cannot_have_one_name() -> None:
    sink = SinkSetup.of(CollectingSink())

    with pytest.raises(ConfigError, match="two sinks are named 'collecting'"):
        Setup([], [sink, sink])


def test_a_source_and_a_sink_may_have_one_name() -> None:
    Setup([SourceSetup.of(ScriptedSource(), name="a")], [SinkSetup.of(CollectingSink(), name="a")])


def test_two_sinks_cannot_share_a_place_that_is_one_sinks_own() -> None:
    sinks = [SinkSetup.of(FileLikeSink(place="out.jsonl"), name=name) for name in ("a", "b")]

    with pytest.raises(ConfigError, match="sinks 'a' and 'b' write to the same place"):
        Setup([], sinks)


def test_two_sinks_may_share_a_place_that_is_open_to_all() -> None:
    Setup([], [SinkSetup.of(CollectingSink(place="here"), name=name) for name in ("a", "b")])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"max_response_bytes": 1023}, "max_response_bytes"),
        ({"max_event_bytes": 0}, "max_event_bytes"),
        ({"max_journal_bytes": 1024 * 1024 - 1}, "max_journal_bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_has_its_bounds(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings(**changes)


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = Settings()

    assert settings.state == Path(".levada/pipeline")
    assert settings.poll_interval == timedelta(seconds=10)
    assert settings.concurrency == 8
    assert settings.request_timeout == settings.give_up_after == timedelta(seconds=30)
    assert settings.shutdown_timeout == timedelta(seconds=8)
    assert settings.max_response_bytes == 32 * 1024 * 1024
    assert settings.max_event_bytes == 1024 * 1024
    assert settings.max_journal_bytes == 1024 * 1024 * 1024
    assert settings.retention == timedelta(hours=24)
