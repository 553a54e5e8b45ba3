"""What others wrote cannot do anything to a terminal, a log or a reader of lines."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.test_cli_process import Desk
from levada.sandbox import Fault, KapsoWorld, RecordedRequest, Response, Sandbox
from security import rude
from security.installing import install
from security.rude import RUDE

# Everything that is not a line end of ours.
DANGEROUS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@pytest.fixture
def rude_desk(tmp_path: Path) -> Desk:
    install(rude, tmp_path / "site")
    path = [str(tmp_path / "site"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    desk = Desk(tmp_path / "desk", {"PYTHONPATH": os.pathsep.join(filter(None, path))})
    desk.folder.mkdir()
    return desk


def said(desk: Desk, *uses: str) -> dict[str, str]:
    """Run commands; return what each printed on both streams."""
    found = {}
    for use in uses:
        done = desk.run(*use.split())
        found[use] = f"{done.stdout}\n{done.stderr}"
    return found


def dangers(found: dict[str, str]) -> list[str]:
    """Return what of it a terminal would act on, or take for a line of ours."""
    return [
        f"{use}: {text[max(0, hit.start() - 30) : hit.end()]!r}"
        for use, text in found.items()
        for hit in DANGEROUS.finditer(text)
    ] + [use for use, text in found.items() if re.search("^levada: done", text, re.MULTILINE)]


@pytest.mark.parametrize(
    ("source", "sink"), [("", "reject"), ("retry", "retry"), ("raise", "disable"), ("", "raise")]
)
def test_no_command_shows_what_a_terminal_would_act_on(
    rude_desk: Desk, source: str, sink: str
) -> None:
    rude_desk.write(
        "p.toml",
        f'[sources.rude]\nway = "{source}"\n[sinks.rude]\nway = "{sink}"\n'
        '[sinks.stdout]\n[sinks.file]\npath = "out.jsonl"\n'
        '[pipeline]\ngive_up_after = "50ms"\n',
    )

    found = said(
        rude_desk,
        "run p.toml --debug",
        "run p.toml --json",
        "status p.toml",
        "status p.toml --json",
        "dead list p.toml --json",
    )

    assert "evil" in found["run p.toml --debug"]
    assert "evil" in found["status p.toml"]
    assert dangers(found) == []
    assert not DANGEROUS.search((rude_desk.folder / "out.jsonl").read_text())


def test_no_look_at_a_plugin_shows_it_either(rude_desk: Desk) -> None:
    found = said(
        rude_desk,
        *("plugins", "describe rude", "describe rude --json", "describe rude --schema"),
        *("describe rude --toml", "schema", "init rude rude"),
    )

    assert dangers(found) == []


def test_no_look_at_events_or_dead_letters_shows_it_either(rude_desk: Desk) -> None:
    rude_desk.write(
        "p.toml", '[sources.rude]\n[sinks.rude]\n[sinks.file]\npath = "out.jsonl"\n[pipeline]\n'
    )
    rude_desk.run("run", "p.toml")

    found = said(
        rude_desk,
        *("dead list p.toml", "dead show p.toml 1 2", "dead show p.toml 1 2 --json"),
        *("verify p.toml --since 99999h", "verify p.toml --since 99999h --json"),
        *("check p.toml", "check p.toml --json", "run p.toml --dry-run"),
        *("pull rude", "pull rude --format raw --debug"),
        *("dead retry p.toml --all", "dead drop p.toml --all", "repair p.toml"),
    )

    assert {use for use, text in found.items() if "Traceback" in text} == set()
    assert dangers(found) == []
    shown = json.loads(found["dead show p.toml 1 2 --json"].splitlines()[0])
    assert [json.loads(each["raw"])["text"] for each in shown] == [RUDE, RUDE]
    assert json.loads(found["pull rude --format raw --debug"].splitlines()[0])["text"] == RUDE


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=6), stevora=None) as running:
        yield running


@pytest.mark.parametrize("status", [200, 401, 404, 422, 503])
def test_no_answer_of_a_vendor_does_anything_to_a_terminal(
    desk: Desk, sandbox: Sandbox, status: int
) -> None:
    def answer(_: RecordedRequest) -> Fault:
        body = json.dumps({"error": {"message": RUDE}}, ensure_ascii=False) + RUDE
        return Fault(answer=Response(status, body.encode(), {"Content-Type": "application/json"}))

    sandbox.kapso.faults = answer
    desk.write(
        "p.toml",
        f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n[sinks.stdout]\n'
        '[pipeline]\ngive_up_after = "50ms"\n',
    )
    desk.env["KAPSO_API_KEY"] = sandbox.kapso_key

    found = said(desk, "check p.toml", "run p.toml --debug", "run p.toml --json", "status p.toml")

    assert dangers(found) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [RUDE],
        [f"--{RUDE}"],
        ["run", RUDE.replace("\0", "")],
        ["pull", RUDE],
        ["pull", "kapso", "--set", RUDE],
        ["describe", RUDE],
        ["sandbox", "--quirk", RUDE],
        ["verify", "p.toml", "--since", RUDE],
    ],
    ids=["command", "option", "file", "source", "assignment", "connector", "quirk", "time"],
)
def test_no_argument_that_was_pasted_does_anything_to_a_terminal(
    desk: Desk, arguments: list[str]
) -> None:
    done = desk.run(*arguments)

    assert done.returncode == 2
    assert dangers({"it": done.stdout + done.stderr}) == []
