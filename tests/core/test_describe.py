"""The description, the starter table and the JSON Schema agree with what is loaded."""

import json
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest

from core.test_config_samples import Basin, Odd, Spring, installed
from levada import ConfigError, Json, PluginError
from levada.config import build, load
from levada.describe import describe, schema
from levada.plugins import Registry

HEAD = "[sources.spring]\n[sinks.basin]\npath = 'out'\n"

EVERYTHING = """
[sinks.basin]
path = 'x'
[sources.spring]
key = { command = ['echo', 'x'] }
url = 'http://x'
runs = []
depth = 100
share = 0.5
window = '1d'
loud = true
since = 2026-01-31T12:00:00Z
account = 'x'
rate_share = 1
rate_limit = 3
"""

VALID = [
    HEAD,
    "[sources.a]\nuse = 'spring'\n[sinks.b]\nuse = 'basin'\npath = 'out'\n",
    "[sources.basin]\nuse = 'spring'\nruns = ['a']\n[sinks.spring]\nuse = 'basin'\npath = 'x'\n",
    HEAD + "only = 'a'\nexcept = ['b']\nuse = 'basin'\n",
    HEAD + "secrets = [{ env = 'KEY' }]\ntoken = { env = 'KEY' }\n",
    HEAD + "secrets = { env = 'KEY' }\n",
    HEAD + "compress = 'gzip'\nlevel = 2\ncolour = 'blue'\nheaders = { a = 'b' }\nsize = 'x'\n",
    HEAD + "steps = ['1s', '250ms', '1.5h']\ntags = ['a']\nports = [1]\nanything = [{}]\n",
    HEAD + "batch_size = 3\nformat = 'raw'\nbatch_wait = '1s'\n",
    HEAD + "[pipeline]\nstate = 'x'\nretention = '2d'\nconcurrency = 1\n",
    EVERYTHING,
]

INVALID = [
    "",
    "[sources.spring]\n",
    "[sinks.basin]\npath = 'x'\n",
    "[sources]\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\n[sinks.basin]\n",
    "[sources.a]\n[sinks.basin]\npath = 'x'\n",
    "[sources.a]\nuse = 'sprin'\n[sinks.basin]\npath = 'x'\n",
    "[sources.basin]\nuse = 'basin'\n[sinks.basin]\npath = 'x'\n",
    "[sources.'a b']\nuse = 'spring'\n[sinks.basin]\npath = 'x'\n",
    "[sources.a]\nuse = 'spring'\ndepht = 1\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nonly = 'a'\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nkey = 'inline'\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nkey = { env = 'KEY', file = 'x' }\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nkey = { evn = 'KEY' }\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nkey = { command = 'x' }\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nkey = {}\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nurl = 'ftp://x'\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\ndepth = 101\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nshare = 1.0\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nwindow = 10\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nwindow = '1w'\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nruns = 'a'\n[sinks.basin]\npath = 'x'\n",
    "[sources.spring]\nuse = 3\n[sinks.basin]\npath = 'x'\n",
    HEAD.replace("'out'", "''"),
    HEAD + "pth = 'x'\n",
    HEAD + "secrets = ['inline']\n",
    HEAD + "compress = 'none'\n",
    HEAD + "level = 3\n",
    HEAD + "colour = 'green'\n",
    HEAD + "headers = { a = 1 }\n",
    HEAD + "steps = ['1s', '1s', '1s', '1s']\n",
    HEAD + "steps = ['1']\n",
    HEAD + "ports = [0]\n",
    HEAD + "title = ''\n",
    HEAD + "size = 1.5\n",
    HEAD + "shape = 'oval'\n",
    HEAD + "only = 3\n",
    HEAD + "[pipeline]\nconcurrency = 0\n",
    HEAD + "[pipeline]\npol_interval = '1s'\n",
    HEAD + "[pipline]\n",
    "x = 1\n" + HEAD,
]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("SPRING_KEY", "value")
    monkeypatch.setenv("KEY", "value")
    monkeypatch.setenv("LEVADA_DISABLE_PLUGINS", "levada")
    return installed(tmp_path, monkeypatch)


@pytest.fixture
def validator(registry: Registry) -> jsonschema.Draft7Validator:
    generated = schema(registry)
    jsonschema.Draft7Validator.check_schema(generated)
    return jsonschema.Draft7Validator(generated)


def as_editors_see(value: Json) -> Json:
    """Return parsed TOML in JSON's types: editors show dates to the schema as strings."""
    if isinstance(value, Mapping):
        return {key: as_editors_see(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_editors_see(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


@pytest.mark.parametrize("text", VALID)
def test_what_loads_satisfies_the_schema(
    text: str, registry: Registry, validator: jsonschema.Draft7Validator, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)

    load(file, registry=registry)

    validator.validate(as_editors_see(tomllib.loads(text)))


@pytest.mark.parametrize("text", INVALID)
def test_what_the_checker_refuses_the_schema_refuses(
    text: str, registry: Registry, validator: jsonschema.Draft7Validator, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)

    with pytest.raises(ConfigError):
        load(file, registry=registry)

    assert not validator.is_valid(as_editors_see(tomllib.loads(text)))


def test_the_schema_is_json(validator: jsonschema.Draft7Validator) -> None:
    assert json.loads(json.dumps(validator.schema)) == validator.schema


def test_the_schema_leaves_out_what_cannot_be_loaded(
    validator: jsonschema.Draft7Validator,
) -> None:
    assert isinstance(validator.schema, Mapping)
    assert {*validator.schema["definitions"]} == {"source.spring", "sink.basin", "sink.clumsy"}


def test_a_connectors_schema_carries_help_defaults_and_limits() -> None:
    properties = describe(Spring).schema["properties"]

    assert properties["depth"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "description": "How deep.",
        "default": 3,
    }
    assert properties["window"]["default"] == "10s"
    assert "default" not in properties["key"]
    assert properties["account"]["type"] == "string"


def test_describes_a_source() -> None:
    description = describe(Spring)

    assert (description.name, description.role, description.live) == ("spring", "source", False)
    assert description.summary == "Wells up out of the tests."
    assert description.guarantee is None
    assert [option.name for option in description.options[:3]] == ["key", "url", "runs"]
    assert [option.name for option in description.host_options] == ["account"]


def test_describes_an_option_in_words() -> None:
    options = {option.name: option for option in describe(Basin).options}

    assert options["path"].json() == {
        "name": "path",
        "type": "a path",
        "default": None,
        "required": True,
        "env": None,
        "choices": [],
        "limits": [],
        "help": "Where to.",
    }
    assert options["steps"].json() == {
        "name": "steps",
        "type": 'a list of durations such as "10s"',
        "default": '["0s", "5m"]',
        "required": False,
        "env": None,
        "choices": [],
        "limits": ["have 3 or fewer"],
        "help": "Waits.",
    }
    assert options["colour"].default == '"red"'
    assert options["colour"].choices == ['"red"', '"blue"']
    assert options["spare"].env == "BASIN_SPARE"


def test_a_sink_says_its_guarantee() -> None:
    assert describe(Basin).json()["guarantee"] == "exactly once"


def test_the_description_is_json() -> None:
    description = describe(Basin).json()

    assert json.loads(json.dumps(description)) == description


def test_a_secret_needs_no_default_to_be_described() -> None:
    options = {option.name: option for option in describe(Spring).options}

    assert (options["key"].required, options["key"].env) == (False, "SPRING_KEY")


def test_an_option_no_file_can_hold_cannot_be_described() -> None:
    with pytest.raises(PluginError, match="plugin 'odd' declares option 'number'"):
        describe(Odd)


def test_the_starter_table_marks_what_is_required() -> None:
    starter = describe(Basin).toml("archive")

    assert starter.startswith(
        dedent(
            """\
            [sinks.archive]
            # Holds what flows into it.
            use = "basin"

            # Where to. (a path)
            path = ""  # required
            """
        )
    )
    assert tomllib.loads(starter) == {
        "sinks": {
            "archive": {"use": "basin", "path": "", "spare": {"env": "BASIN_SPARE"}},
        }
    }


def test_the_starter_table_shows_every_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASIN_SPARE", "x")
    starter = describe(Basin).toml()
    lines = [
        line.removeprefix("# ").replace('path = ""  #', 'path = "x"  #')
        for line in starter.splitlines()
        if " = " in line and "(" not in line
    ]

    table = tomllib.loads("\n".join(lines))

    assert "use" not in table
    assert build(Basin, table) == build(Basin, {"path": "x"})


def test_the_starter_of_a_source_is_ready_to_run(registry: Registry, tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(describe(Spring).toml() + HEAD.removeprefix("[sources.spring]"))

    assert load(file, registry=registry).sources[0].source == build(Spring, {})
