"""`levada status` and `levada enable`: what the journal says, also while a run goes on."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from integration.test_cli_process import Desk, until
from integration.test_cli_run import pipeline, stop
from levada.sandbox import KapsoWorld, Receiver, Sandbox

EVENTS = 6 * 8


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    world = KapsoWorld.sample(executions=6, open=2)
    with Sandbox.in_thread(kapso=world, stevora=None) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, sandbox: Sandbox) -> Desk:
    return Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})


def accounts(status: dict[str, Any]) -> dict[str, bool]:
    names = ("delivered", "pending", "dead", "dropped", "filtered")
    return {
        sink["name"]: sink["fetched"] == sum(sink[name] for name in names)
        for sink in status["sinks"]
    }


def test_says_that_nothing_ran_yet(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", pipeline(sandbox, "[sinks.stdout]"))

    words, data = desk.run("status", "p.toml"), desk.run("status", "p.toml", "--json")

    assert (words.returncode, data.returncode) == (0, 0)
    assert "has not run yet" in words.stdout
    assert json.loads(data.stdout) == {
        "path": None,
        "sources": [],
        "sinks": [],
        "diagnostics": [],
    }
    assert [path.name for path in desk.folder.iterdir()] == ["p.toml"]


def test_needs_no_key(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", pipeline(sandbox, "[sinks.stdout]"))

    assert desk.run("status", "p.toml", KAPSO_API_KEY="").returncode == 0


def test_accounts_for_every_event(desk: Desk, sandbox: Sandbox) -> None:
    with Receiver.in_thread(answers=lambda _: (500, {}, 0.0)) as receiver:
        sinks = (
            '[sinks.file]\npath = "events.jsonl"\nexcept = "step.*"\n'
            f'[sinks.hook]\nuse = "webhook"\nurl = "{receiver.url}"\n'
            '[sinks.bad]\nuse = "webhook"\nschedule = ["0s"]\n'
            f'url = "{receiver.url}/bad"\nonly = "run.*"'
        )
        desk.write("p.toml", pipeline(sandbox, sinks, 'give_up_after = "300ms"'))
        desk.run("run", "p.toml")

        status = json.loads(desk.run("status", "p.toml", "--json").stdout)
        words = desk.run("status", "p.toml").stdout

    sinks_by_name = {sink["name"]: sink for sink in status["sinks"]}
    assert accounts(status) == {"bad": True, "file": True, "hook": True}
    assert {sink["fetched"] for sink in status["sinks"]} == {EVENTS}
    assert sinks_by_name["file"]["filtered"] > 0
    assert sinks_by_name["hook"]["pending"] == EVENTS
    assert sinks_by_name["bad"]["dead"] > 0
    assert any(each["attempts"] for each in sinks_by_name["hook"]["outstanding"])
    assert status["sources"][0]["partitions"]["open"] == 2
    assert "!!  hook: " in words


def test_works_while_a_run_goes_on(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
    running = desk.start("run", "p.toml", "--follow")
    path = desk.folder / "events.jsonl"
    until(lambda: path.exists() and len(desk.ids("events.jsonl")) == EVENTS)

    done = desk.run("status", "p.toml", "--json")

    stop(running)
    assert done.returncode == 0
    assert accounts(json.loads(done.stdout)) == {"file": True}


def test_shows_what_was_reported(desk: Desk, sandbox: Sandbox) -> None:
    execution = next(iter(sandbox.kapso.world.executions))
    sandbox.kapso.world.add_event(execution, "moon_landed")
    desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
    desk.run("run", "p.toml")

    words = desk.run("status", "p.toml").stdout
    (found,) = json.loads(desk.run("status", "p.toml", "--json").stdout)["diagnostics"]

    assert "kapso: type.unknown" in words
    assert "type='moon_landed'" in words
    assert (found["what"], found["fields"], found["count"]) == (
        "type.unknown",
        {"type": "moon_landed"},
        1,
    )


def test_names_what_is_not_in_the_file_any_more(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", pipeline(sandbox, '[sinks.old]\nuse = "file"\npath = "old"'))
    desk.run("run", "p.toml")
    desk.write("p.toml", pipeline(sandbox, '[sinks.new]\nuse = "file"\npath = "new"'))

    assert "!!  old is not in p.toml any more" in desk.run("status", "p.toml").stdout


def test_a_damaged_journal_exits_6(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", pipeline(sandbox, "[sinks.stdout]"))
    desk.run("run", "p.toml")
    (desk.folder / ".levada/p/state.db").write_bytes(b"not a journal, whatever it was")

    done = desk.run("status", "p.toml")

    assert done.returncode == 6
    assert "state.db" in done.stderr


def test_repair_says_what_it_found(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
    desk.run("run", "p.toml")
    whole = desk.run("repair", "p.toml")
    path = desk.folder / ".levada/p/state.db"
    path.write_bytes(path.read_bytes()[:-8192])
    asked = len(sandbox.kapso.requests)

    refused = desk.run("run", "p.toml")
    assert (refused.returncode, len(sandbox.kapso.requests)) == (6, asked)
    assert "is damaged" in refused.stderr
    assert "levada repair" in refused.stderr
    repaired = desk.run("repair", "p.toml")

    assert whole.stdout == "the journal is whole; there is nothing to repair\n"
    assert repaired.returncode == 0
    assert "the journal as it was: " in repaired.stdout
    status = json.loads(desk.run("status", "p.toml", "--json").stdout)
    assert accounts(status) == {"file": True}
    assert desk.run("run", "p.toml").returncode == 0


def test_enable_refuses_a_name_that_is_not_there(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", pipeline(sandbox, "[sinks.stdout]"))

    done = desk.run("enable", "p.toml", "hook")

    assert done.returncode == 2
    assert done.stderr == "levada: p.toml has no sink 'hook'; its sinks: stdout\n"


def test_enable_waits_for_no_run(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
    running = desk.start("run", "p.toml", "--follow")
    until((desk.folder / "events.jsonl").exists)

    done = desk.run("enable", "p.toml", "file")

    stop(running)
    assert done.returncode == 6
    assert "in use by process" in done.stderr


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE source SET position = '{\"x'",
        "UPDATE partition SET memo = '{', state = 'open'",
        "UPDATE partition SET changed = '2026-99', state = 'open'",
        "UPDATE sink SET receipt = '[1'",
        "UPDATE meta SET value = 'many' WHERE name = 'bytes'",
        "DELETE FROM meta WHERE name = 'bytes'",
        "INSERT INTO meta VALUES ('dead', 'many')",
        "DELETE FROM meta WHERE name = 'journal'",
    ],
)
def test_a_value_that_was_damaged_is_said_to_be(desk: Desk, sandbox: Sandbox, damage: str) -> None:
    desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
    desk.run("run", "p.toml")
    path = desk.folder / ".levada" / "p" / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(damage)
    path.with_name("state.db.sums").unlink()  # with it the journal would not even be opened

    done = desk.run("run", "p.toml")
    status = desk.run("status", "p.toml")

    assert done.returncode == 6, done.stderr
    assert "is damaged; restore a copy of the state folder" in done.stderr
    assert status.returncode in {0, 6}
    assert "internal error" not in status.stderr
