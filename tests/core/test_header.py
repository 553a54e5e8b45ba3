"""Headers that cannot be sent are refused when a connector is built, without their values."""

from pathlib import Path

import pytest
from attrs import define

from levada import ConfigError, Secret, option, valid_header_value, valid_headers
from levada.config import build


@define
class Connector:
    headers: dict[str, str] = option(default={}, help="Headers.", validator=valid_headers)
    key: Secret | None = option(
        default=None, help="A key.", env="HEADER_KEY", validator=valid_header_value
    )


@pytest.mark.parametrize(
    "name", ["A b", "", "A:", "Ü", "A\n", "Host", "transfer-encoding", "Connection"]
)
def test_a_name_that_cannot_be_set_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be set as a header"):
        build(Connector, {"headers": {name: "cnry"}})
    with pytest.raises(ConfigError, match="cannot be set as a header"):
        Connector(headers={name: "cnry"})


@pytest.mark.parametrize(
    "value", ["cnry\n", "cnry\r\nX: y", "cn\0ry", "cnry\u20ac", " cnry", "cnry\x7f"]
)
def test_a_value_that_http_does_not_allow_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ConfigError, match="the value of header X-Key holds a character") as caught:
        build(Connector, {"headers": {"X-Key": value}}, path="sinks.it")

    assert caught.value.problems[0].path == "sinks.it.headers"
    assert not {"cnry", value} & set(str(caught.value).split())


@pytest.mark.parametrize("value", ["cn\nry", "cnry\n", "cn\x1bry", "cn\u20acry"])
def test_a_secret_that_no_header_can_hold_is_refused_by_its_reference(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADER_KEY", value)

    tables: list[dict[str, object]] = [{}, {"key": {"env": "HEADER_KEY"}}]
    for table in tables:
        with pytest.raises(ConfigError) as caught:
            build(Connector, table, path="sources.it")

        assert str(caught.value).startswith(
            "sources.it.key: the secret from environment variable HEADER_KEY holds a character"
        )
        assert "ry" not in str(caught.value).replace("HEADER", "").split()


def test_what_can_be_sent_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text("key\n", encoding="utf-8")

    built = build(
        Connector, {"headers": {"X-Team": "a b", "X-Empty": ""}, "key": {"file": str(path)}}
    )

    assert built.headers == {"X-Team": "a b", "X-Empty": ""}
    assert built.key == Secret("key")


def test_a_secret_that_is_not_read_is_not_judged() -> None:
    assert build(Connector, {"key": {"env": "HEADER_KEY"}}, read_secrets=False).key == Secret("")
