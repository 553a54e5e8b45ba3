import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft7Validator

from levada import ConfigError
from levada.cli.root import levada


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAPSO_API_KEY", raising=False)
    return tmp_path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(levada, arguments, catch_exceptions=False)


def written(name: str = "pipeline.toml") -> dict[str, Any]:
    return tomllib.loads(Path(name).read_text())


def test_init_writes_a_file_and_says_what_is_left(folder: Path) -> None:
    done = invoke("init", "kapso", "file")

    assert done.stdout.splitlines() == [
        "wrote pipeline.toml   (2 settings left: $KAPSO_API_KEY, sinks.file.path)",
        "next: levada check pipeline.toml",
    ]
    assert (set(written()["sources"]), set(written()["sinks"])) == ({"kapso"}, {"file"})
    assert Path("pipeline.toml").read_text().startswith("#:schema levada.schema.json\n")
    assert Path("pipeline.toml").stat().st_mode & 0o777 == 0o644


def test_init_takes_any_order_and_any_number() -> None:
    invoke("init", "stdout", "stevora", "file", "kapso", "file", "--output", "many.toml")

    tables = written("many.toml")
    assert list(tables["sources"]) == ["stevora", "kapso"]
    assert list(tables["sinks"]) == ["stdout", "file", "file2"]
    assert tables["sinks"]["file2"]["use"] == "file"


def test_init_replaces_a_file_only_when_told_to() -> None:
    Path("pipeline.toml").write_text("precious")

    with pytest.raises(ConfigError, match="--force"):
        invoke("init", "kapso", "stdout")
    assert Path("pipeline.toml").read_text() == "precious"

    invoke("init", "kapso", "stdout", "--force")
    assert set(written()["sinks"]) == {"stdout"}


@pytest.mark.parametrize(
    ("names", "missing"), [(["kapso"], "a sink"), (["stdout", "file"], "a source")]
)
def test_init_wants_both_ends(names: list[str], missing: str) -> None:
    with pytest.raises(ConfigError, match=f"a pipeline needs {missing}"):
        invoke("init", *names)


def test_the_schema_accepts_what_init_writes() -> None:
    schema = json.loads(invoke("schema").stdout)
    invoke("init", "kapso", "stevora", "stdout", "webhook")
    text = Path("pipeline.toml").read_text().replace('url = ""', 'url = "https://example.test"')

    Draft7Validator.check_schema(schema)
    assert list(Draft7Validator(schema).iter_errors(tomllib.loads(text))) == []
