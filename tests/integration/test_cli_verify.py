"""`levada verify`: the vendor's events against the journal's."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from integration.test_cli_process import Desk
from integration.test_cli_run import pipeline
from levada.sandbox import KapsoWorld, Sandbox

SINCE = ("--since", "2026-01-01T00:00:00Z")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    world = KapsoWorld.sample(executions=6, open=2)
    with Sandbox.in_thread(kapso=world, stevora=None) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, sandbox: Sandbox) -> Desk:
    desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})
    desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
    desk.run("run", "p.toml")
    return desk


def verdict(desk: Desk, *options: str, code: int = 0) -> dict[str, Any]:
    done = desk.run("verify", "p.toml", "--json", *(options or SINCE))
    assert done.returncode == code, done.stderr
    (found,) = json.loads(done.stdout)
    return dict(found)


def change(desk: Desk, *statements: str) -> None:
    connection = sqlite3.connect(desk.folder / ".levada/p/state.db")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
    (desk.folder / ".levada/p/state.db.sums").unlink(
        missing_ok=True
    )  # with them it would be refused


def test_after_a_run_nothing_is_missing(desk: Desk) -> None:
    words = desk.run("verify", "p.toml", *SINCE)

    assert words.returncode == 0
    assert "48 events in 6 executions" in words.stdout
    assert "nothing is missing" in words.stdout
    found = verdict(desk)
    assert (found["missing"], found["extra"], found["unread"]) == ([], [], [])


def test_where_there_was_nothing_to_compare_it_says_so(desk: Desk) -> None:
    words = desk.run("verify", "p.toml", "--since", "2100-01-01T00:00:00Z")

    assert words.returncode == 0
    assert "0 events in 0 executions" in words.stdout
    assert "nothing to compare: see --since" in words.stdout
    assert "missing" not in words.stdout


def test_it_changes_nothing(desk: Desk) -> None:
    before = desk.run("status", "p.toml", "--json").stdout

    verdict(desk)

    assert desk.run("status", "p.toml", "--json").stdout == before
    assert "0 new events" in desk.run("run", "p.toml").stderr


def test_an_event_that_was_passed_over_is_missing(desk: Desk, sandbox: Sandbox) -> None:
    lost = sandbox.kapso.world.events[3]
    change(
        desk,
        f"DELETE FROM seen WHERE id = '{lost.id}'",
        "UPDATE partition SET events = events - 1 WHERE id ="
        f" (SELECT partition FROM event WHERE id = '{lost.id}')",
        f"DELETE FROM event WHERE id = '{lost.id}'",
    )

    found = verdict(desk, code=6)
    words = desk.run("verify", "p.toml", *SINCE)

    assert [each["id"] for each in found["missing"]] == [lost.id]
    assert found["missing"][0]["type"] == lost.event_type
    assert words.returncode == 6
    assert "1 missing: the journal has read past them" in words.stdout
    assert lost.id in words.stdout


def test_an_execution_that_was_passed_over_is_missing(desk: Desk, sandbox: Sandbox) -> None:
    lost = list(sandbox.kapso.world.executions.values())[1]
    where = f"(SELECT id FROM partition WHERE key = '{lost.id}')"
    change(
        desk,
        f"DELETE FROM event WHERE partition = {where}",
        f"DELETE FROM seen WHERE partition = {where}",
        f"DELETE FROM partition WHERE key = '{lost.id}'",
    )

    found = verdict(desk, code=6)

    assert {each["id"] for each in found["missing"]} == {each.id for each in lost.events}


def test_an_event_that_the_next_run_will_read_is_not_missing(desk: Desk, sandbox: Sandbox) -> None:
    world = sandbox.kapso.world
    new = [world.add_event(world.open_executions[0].id, "x"), *world.add_execution(events=2).events]

    found = verdict(desk)

    assert {each["id"] for each in found["unread"]} == {each.id for each in new}
    assert found["missing"] == []


def test_an_event_that_the_last_look_will_read_is_not_missing(desk: Desk, sandbox: Sandbox) -> None:
    world = sandbox.kapso.world
    done = next(each for each in world.executions.values() if each.is_final)
    change(desk, f"UPDATE partition SET state = 'lingering' WHERE key = '{done.id}'")
    late = world.add_event(done.id, "afterthought")

    found = verdict(desk)

    assert [each["id"] for each in found["unread"]] == [late.id]
    assert found["missing"] == []


def test_an_event_of_an_execution_that_is_closed_is_missing(desk: Desk, sandbox: Sandbox) -> None:
    world = sandbox.kapso.world
    done = next(each for each in world.executions.values() if each.is_final)
    late = world.add_event(done.id, "afterthought")

    found = verdict(desk, code=6)

    assert [each["id"] for each in found["missing"]] == [late.id]
    assert found["unread"] == []


def test_what_the_vendor_has_deleted_is_extra(desk: Desk, sandbox: Sandbox) -> None:
    gone = sandbox.kapso.world.open_executions[0]
    events = {each.id for each in gone.events}
    sandbox.kapso.world.delete(gone.id)

    found = verdict(desk)

    assert {each["id"] for each in found["extra"]} == events
    assert found["missing"] == []


def test_of_what_closed_long_ago_the_number_is_compared(tmp_path: Path) -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=250)
    world.end(execution.id)
    with Sandbox.in_thread(kapso=world, stevora=None) as sandbox:
        desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})
        desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))
        desk.run("run", "p.toml")
        change(desk, "DELETE FROM event")
        assert verdict(desk)["missing"] == []

        change(desk, "UPDATE partition SET events = events - 2")
        found = verdict(desk, code=6)

    assert [each["id"] for each in found["missing"]] == ["?", "?"]


def test_only_the_window_is_compared(desk: Desk) -> None:
    assert verdict(desk, "--since", "1h")["events"] == 0
    assert (
        verdict(desk, "--since", (datetime.now(UTC) - timedelta(hours=1)).isoformat())["events"]
        == 0
    )
    assert verdict(desk, "--since", "9999d")["events"] == 48


def test_a_time_that_is_none_is_a_usage_error(desk: Desk) -> None:
    done = desk.run("verify", "p.toml", "--since", "yesterday")

    assert done.returncode == 2
    assert "Invalid value for --since" in done.stderr


def test_without_a_journal_there_is_nothing_to_compare(tmp_path: Path, sandbox: Sandbox) -> None:
    desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})
    desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "events.jsonl"'))

    done = desk.run("verify", "p.toml")

    assert done.returncode == 6
    assert "there is no journal in" in done.stderr
