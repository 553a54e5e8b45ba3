import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft7Validator

from levada import ConfigError
from levada.cli.root import levada


def output(*arguments: str) -> str:
    done = CliRunner().invoke(levada, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_plugins_lists_what_is_installed() -> None:
    head, *rows = output("plugins").splitlines()

    assert head.split() == ["connector", "role", "from", "version"]
    assert {row.split()[0] for row in rows} >= {"file", "kapso", "stdout", "stevora", "webhook"}


def test_a_broken_plugin_is_a_line_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "levada_broken-0.3.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: levada-broken\nVersion: 0.3\n")
    (package / "entry_points.txt").write_text("[levada]\nbroken = levada_broken\n")
    monkeypatch.syspath_prepend(tmp_path)

    words, data = output("plugins"), json.loads(output("plugins", "--json"))

    assert "!!  broken did not load: ModuleNotFoundError: No module named 'levada_broken'" in words
    (broken,) = [each for each in data if each["error"]]
    assert (broken["name"], broken["distribution"], broken["version"]) == (
        "broken",
        "levada-broken",
        "0.3",
    )
    assert output("describe", "kapso")


@pytest.mark.parametrize("name", ["file", "kapso", "stdout", "stevora", "webhook"])
def test_describe_names_every_option(name: str) -> None:
    words, data = output("describe", name), json.loads(output("describe", name, "--json"))

    assert data["name"] == name
    assert set(words.split()) >= {option["name"] for option in data["options"]}


def test_describe_gives_the_schema_and_a_table() -> None:
    Draft7Validator.check_schema(json.loads(output("describe", "kapso", "--schema")))
    assert output("describe", "kapso", "--toml").startswith("[sources.kapso]\n")


def test_describe_does_not_know_everything() -> None:
    with pytest.raises(ConfigError, match="did you mean 'kapso'"):
        output("describe", "kapsoo")
