"""The documentation keeps up with the code: whatever a user can name is explained there."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import attrs
import click
import pytest

import generated
import levada
from levada import Delivery, Event, LevadaError, Origin, Settings, errors, hookspecs
from levada.cli.exit_codes import ExitCode
from levada.cli.root import levada as root_command
from levada.config import load
from levada.config.host_keys import host_keys
from levada.config.options import options_of
from levada.plugins import Registry

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md"), *DOCS.glob("*/*.md")])
CONNECTORS = ["file", "kapso", "stdout", "stevora", "webhook"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SOURCES = [*(ROOT / "core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found, body in BLOCK.findall(page.read_text(encoding="utf-8")):
            if found == language:
                yield str(page.relative_to(ROOT)), body


def commands() -> dict[str, click.Command]:
    context = click.Context(root_command, info_name="levada")
    return dict(generated.commands_below(root_command, context))


def command_lines() -> list[str]:
    shell = [*blocks("sh"), *blocks("console")]
    lines = {line.removeprefix("$ ") for _, body in shell for line in body.splitlines()}
    return sorted(line for line in lines if line.startswith("levada "))


def pipelines() -> dict[str, str]:
    found = [
        (page, body)
        for page, body in blocks("toml")
        if re.search(r"^\[(sources|sinks|pipeline)", body, re.MULTILINE) and "ntfy" not in body
    ]
    return {f"{page} {number}": body for number, (page, body) in enumerate(found)}


@pytest.mark.parametrize("page", generated.pages(), ids=lambda page: page.name)
def test_the_generated_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert generated.refreshed(text) == text, "run: python docs/_ext/generated.py"


@pytest.mark.parametrize("connector", CONNECTORS)
def test_every_option_of_a_connector_is_documented(connector: str) -> None:
    _, _, section = text_of("reference/connectors.md").partition(f"\n## {connector}\n")
    section, _, _ = section.partition("\n## ")

    cls = generated.connector_class(connector)

    assert [name for name in options_of(cls) if f"| `{name}` |" not in section] == []


def test_every_setting_and_every_key_of_the_host_is_documented() -> None:
    text = text_of("reference/pipeline-file.md")
    names = [each.name for each in attrs.fields(Settings)]
    names += [key.name for key in (*host_keys("source"), *host_keys("sink"))]

    assert [name for name in names if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("name", commands())
def test_every_command_and_its_options_are_documented(name: str) -> None:
    _, _, section = text_of("reference/cli.md").partition(f"\n## {name}\n")
    section, _, _ = section.partition("\n## ")
    options = [
        spelling
        for each in commands()[name].params
        if isinstance(each, click.Option) and not each.hidden
        for spelling in each.opts
    ]

    assert section
    assert [spelling for spelling in options if spelling not in section] == []


def test_every_public_name_is_documented() -> None:
    text = text_of("reference/api.md")
    raised = {name for name in levada.__all__ if name in vars(errors)}
    missing = [name for name in levada.__all__ if not re.search(rf"levada\.{name}\b", text)]

    assert set(missing) <= raised  # these are in the page's list of everything in levada.errors
    assert "automodule:: levada.errors" in text


def test_every_error_is_documented() -> None:
    text = text_of("reference/errors.md")
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    names = [each.__name__ for each in classes if issubclass(each, LevadaError)]

    assert [name for name in names if f"| `{name}` |" not in text] == []


def test_every_exit_code_is_documented() -> None:
    text = text_of("reference/exit-codes.md")

    assert [code for code in ExitCode if f"| `{code:d}` |" not in text] == []


def test_every_hook_is_documented() -> None:
    text = text_of("reference/hooks.md")
    names = [name for name in vars(hookspecs) if name.startswith("event_")]

    assert names
    assert [name for name in names if f"\n## {name}\n" not in text] == []


def test_every_report_is_documented() -> None:
    text = text_of("reference/events.md")
    code = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    names = set(re.findall(r"\.report\(\s*\"([a-z._]+)\"", code))

    assert names
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_every_environment_variable_is_documented() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    code = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    names = set(re.findall(r"\"(LEVADA_[A-Z_]+|[A-Z]+_API_KEY)\"", code))

    assert names
    assert sorted(name for name in names if name not in text) == []


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_in_the_documentation_can_be_parsed(line: str) -> None:
    words = shlex.split(re.split(r"[|&>]| #", line)[0])[1:]
    names = [each for each in commands() if each.split() == words[: len(each.split())]]
    name = max(names, default="")
    command = commands().get(name, root_command)

    command.make_parser(click.Context(command)).parse_args(words[len(name.split()) :])

    assert name or words[0].startswith("--")


@pytest.mark.parametrize("body", pipelines().values(), ids=pipelines())
def test_every_pipeline_in_the_documentation_is_valid(body: str, tmp_path: Path) -> None:
    tables = tomllib.loads(body)
    more = "" if "sources" in tables else "[sources.kapso]\n"
    more += "" if "sinks" in tables else "[sinks.stdout]\n"
    file = tmp_path / "pipeline.toml"
    file.write_text(f"{body}\n{more}", encoding="utf-8")

    setup = load(file, registry=Registry(), read_secrets=False)

    assert setup.sources
    assert setup.sinks


def test_the_line_in_the_documentation_is_what_is_written() -> None:
    shown = json.loads(dict(blocks("json"))["docs/reference/wire-format.md"])
    event = Event(
        "5f1c2a8e-0001",
        type="step_completed",
        time=datetime(2026, 3, 2, 9, 0, 0, 125000, UTC),
        partition="b1e0f4de",
        raw=b'{"id":"5f1c2a8e-0001","event_type":"step_completed"}',
        subject="ask_name",
        kind="step.completed",
        origin=Origin(
            "kapso", "any", "https://api.kapso.ai/platform/v1/workflow_executions/b1e0f4de"
        ),
        seq=42,
    )

    (line,) = Delivery([event]).lines

    assert list(shown.items()) == list(json.loads(line).items())


@pytest.mark.parametrize("name", ["demo", "tests"])
def test_the_readme_has_each_of_its_commands_on_one_line(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    (command,) = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.+)\n```$", readme, re.MULTILINE)

    assert name in command


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_within_the_repository_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)

    assert [target for target in targets if not (ROOT / target).exists()] == []
