"""`levada dead`: what could not be delivered, looked at, delivered again, or let go."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from integration.test_cli_process import Desk, until
from integration.test_cli_run import pipeline, stop
from levada.cli.root import levada
from levada.journal import dead_letters
from levada.sandbox import KapsoWorld, Receiver, Sandbox

EVENTS = 3 * 8
SCHEDULE = 'schedule = ["0s", "0s", "0s"]'


@define
class Place:
    """A pipeline whose receiver refuses what is told of runs, until it is mended."""

    desk: Desk
    sandbox: Sandbox
    receiver: Receiver

    def mend(self) -> None:
        self.receiver.answers = []

    def status(self) -> dict[str, Any]:
        (sink,) = json.loads(self.desk.run("status", "p.toml", "--json").stdout)["sinks"]
        names = ("delivered", "pending", "dead", "dropped", "filtered")
        assert sink["fetched"] == sum(sink[name] for name in names)
        return dict(sink)

    def letters(self, *options: str) -> list[dict[str, Any]]:
        done = self.desk.run("dead", "list", "p.toml", "--json", *options)
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    world = KapsoWorld.sample(workflows=1, executions=3, open=1)

    def answer(delivery: Any) -> tuple[int, dict[str, str], float]:
        refused = any(str(event.get("kind")).startswith("run.") for event in delivery.events)
        return (422 if refused else 204), {}, 0.0

    with (
        Sandbox.in_thread(kapso=world, stevora=None) as sandbox,
        Receiver.in_thread(answers=answer) as receiver,
    ):
        desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})
        sink = f'[sinks.hook]\nuse = "webhook"\nurl = "{receiver.url}/x"\n{SCHEDULE}'
        desk.write("p.toml", pipeline(sandbox, sink))
        desk.run("run", "p.toml")
        yield Place(desk, sandbox, receiver)


def test_they_are_listed_with_reason_and_attempts(place: Place) -> None:
    found = place.letters()
    words = place.desk.run("dead", "list", "p.toml").stdout

    assert len(found) == place.status()["dead"] == 5
    assert {"sink", "id", "partition", "reason", "attempts", "time", "letter"} <= found[0].keys()
    assert all("422" in each["reason"] for each in found)
    assert all(each["id"] in words for each in found)
    assert place.letters("--sink", "-") == []


def test_one_is_shown_in_full_and_without_what_a_terminal_acts_on(place: Place) -> None:
    world = place.sandbox.kapso.world
    key = world.open_executions[0].id
    world.add_event(key, "execution_failed", payload={"text": "\x1b[31m\u202e\x9b" + "x" * 3000})
    place.desk.run("run", "p.toml")
    letter = place.letters()[-1]

    words = place.desk.run("dead", "show", "p.toml", letter["id"]).stdout
    (data,) = json.loads(
        place.desk.run("dead", "show", "p.toml", str(letter["letter"]), "--json").stdout
    )

    assert not {"\x1b", "\u202e", "\x9b"} & set(words)
    assert "422" in words
    assert "more: add --json" in words
    assert json.loads(data["raw"])["payload"]["text"].endswith("x" * 3000)


def test_retried_ones_are_delivered_under_their_old_ids(place: Place) -> None:
    dead = {each["id"] for each in place.letters()}
    before = {each.headers["webhook-id"] for each in place.receiver.deliveries}
    place.mend()

    done = place.desk.run("dead", "retry", "p.toml", "--all")
    assert done.stdout == "5 dead letters will be delivered by: levada run p.toml\n"
    assert (place.status()["pending"], place.letters()) == (5, [])
    known = len(place.receiver.deliveries)
    assert place.desk.run("run", "p.toml").returncode == 0

    again = place.receiver.deliveries[known:]
    assert {event["id"] for each in again for event in each.events} == dead
    assert {each.headers["webhook-id"] for each in again} <= before
    assert place.status()["delivered"] == EVENTS


def test_what_the_journal_has_let_go_can_be_retried_as_well(place: Place) -> None:
    bodies = {each.headers["webhook-id"]: each.body for each in place.receiver.deliveries}
    file = place.desk.folder / "p.toml"
    file.write_text(file.read_text().replace("[pipeline]", '[pipeline]\nretention = "0s"'))
    assert place.desk.run("run", "p.toml").returncode == 0
    state = place.desk.folder / ".levada/p/state.db"
    with sqlite3.connect(state) as connection:  # as it is in time, when its execution is settled
        assert connection.execute("SELECT count(*) FROM event").fetchone() == (0,)
        connection.execute("DELETE FROM seen")
        connection.execute("DELETE FROM partition")
    connection.close()
    state.with_name("state.db.sums").unlink()  # with them it would be refused
    place.mend()
    known = len(place.receiver.deliveries)

    place.desk.run("dead", "retry", "p.toml", "--sink", "hook")
    place.sandbox.kapso.world.workflows.clear()  # nothing is read anew
    place.desk.run("run", "p.toml")

    again = place.receiver.deliveries[known:]
    assert len(again) == 5
    assert all(bodies[each.headers["webhook-id"]] == each.body for each in again)


def test_what_somebody_else_has_dropped_meanwhile_is_not_retried(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = dead_letters.letters

    def too_early(folder: Path, choice: dead_letters.Choice, **more: Any) -> Any:
        found = look(folder, choice, **more)
        place.desk.run("dead", "drop", "p.toml", "--all")
        return found

    monkeypatch.setattr(dead_letters, "letters", too_early)
    monkeypatch.chdir(place.desk.folder)

    levada.main(["dead", "retry", "p.toml", "--all"], standalone_mode=False)

    found = place.status()
    assert (found["pending"], found["dead"], found["dropped"]) == (0, 0, 5)


def test_dropped_ones_are_counted_as_dropped(place: Place) -> None:
    first, *others = place.letters()

    done = place.desk.run("dead", "drop", "p.toml", first["id"])

    assert done.stdout == "1 dead letter dropped\n"
    assert [each["id"] for each in place.letters()] == [each["id"] for each in others]
    assert (place.status()["dropped"], place.status()["dead"]) == (1, 4)
    assert place.desk.run("run", "p.toml").returncode == 0
    assert first["id"] not in {event["id"] for event in place.receiver.events}


def test_a_number_is_that_of_a_letter_before_it_is_an_id(place: Place) -> None:
    state = place.desk.folder / ".levada/p/state.db"
    first, second, *others = place.letters()
    with sqlite3.connect(state) as connection:  # as of a vendor that numbers its events
        connection.execute(
            "UPDATE dead SET event = ? WHERE id = ?", (str(first["letter"]), second["letter"])
        )
    connection.close()
    state.with_name("state.db.sums").unlink()

    done = place.desk.run("dead", "drop", "p.toml", str(first["letter"]))

    assert done.stdout == "1 dead letter dropped\n"
    left = [each["letter"] for each in place.letters()]
    assert left == [second["letter"], *(each["letter"] for each in others)]


def test_what_a_source_rejected_can_be_shown_and_dropped_but_not_retried(
    tmp_path: Path,
) -> None:
    world = KapsoWorld()
    execution = world.add_execution(events=3)
    world.add_event(execution.id, "x", payload={"text": "x" * 3000})
    with Sandbox.in_thread(kapso=world, stevora=None) as sandbox:
        desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})
        settings = "max_event_bytes = 2048"
        desk.write("p.toml", pipeline(sandbox, '[sinks.file]\npath = "e.jsonl"', settings))
        desk.run("run", "p.toml")

        words = desk.run("dead", "list", "p.toml").stdout
        retried = desk.run("dead", "retry", "p.toml", "--all").stdout
        dropped = desk.run("dead", "drop", "p.toml", "--sink", "-").stdout

    assert "max_event_bytes is 2048" in words
    assert "0 dead letters will be delivered" in retried
    assert "1 other came from a source and is no event: it stays, or drop it" in retried
    assert dropped == "1 dead letter dropped\n"
    assert desk.run("dead", "list", "p.toml").stdout == "no dead letters\n"


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_nothing_is_changed_by_accident(place: Place, command: str) -> None:
    unclear = place.desk.run("dead", command, "p.toml")
    unknown = place.desk.run("dead", command, "p.toml", "nope")

    assert (unclear.returncode, unknown.returncode) == (2, 2)
    assert "LETTERs, --sink NAME or --all" in unclear.stderr
    assert "no dead letter 'nope'" in unknown.stderr
    assert len(place.letters()) == 5


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_all_of_them_and_some_of_them_is_refused(place: Place, command: str) -> None:
    done = place.desk.run("dead", command, "p.toml", "--all", place.letters()[0]["id"])

    assert done.returncode == 2
    assert "either LETTERs or --all" in done.stderr
    assert len(place.letters()) == 5


@pytest.mark.parametrize("command", ["list", "retry", "drop"])
def test_a_sink_that_nobody_knows_is_refused(place: Place, command: str) -> None:
    done = place.desk.run("dead", command, "p.toml", "--sink", "hok")

    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no sink 'hok'; known: hook." in done.stderr


def test_a_sink_that_left_the_pipeline_is_known_to_the_journal(place: Place) -> None:
    place.desk.write("p.toml", pipeline(place.sandbox, '[sinks.file]\npath = "e.jsonl"'))

    assert len(place.letters("--sink", "hook")) == 5
    assert place.desk.run("dead", "drop", "p.toml", "--sink", "hook").returncode == 0
    assert place.letters("--sink", "hook") == []


@pytest.mark.parametrize("which", [["--all"], ["--sink", "hook"], ["1", "2", "3", "4", "5"]])
def test_letters_of_a_sink_that_left_the_pipeline_stay(place: Place, which: list[str]) -> None:
    text = (place.desk.folder / "p.toml").read_text()
    without = pipeline(place.sandbox, '[sinks.file]\npath = "e.jsonl"', 'retention = "0s"')
    place.desk.write("p.toml", without)

    done = place.desk.run("dead", "retry", "p.toml", *which)

    assert done.returncode == 0
    assert done.stdout == (
        "0 dead letters will be delivered by: levada run p.toml\n"
        "5 others of sink 'hook', not in p.toml any more: put it back, or drop them\n"
    )
    assert place.desk.run("run", "p.toml").returncode == 0
    place.desk.write("p.toml", text)
    place.mend()
    assert len(place.letters()) == 5
    assert "5 dead letters will be" in place.desk.run("dead", "retry", "p.toml", "--all").stdout
    known = len(place.receiver.deliveries)
    assert place.desk.run("run", "p.toml").returncode == 0
    assert len(place.receiver.deliveries) == known + 5
    assert place.letters() == []


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_a_running_pipeline_is_left_alone(place: Place, command: str) -> None:
    asked = len(place.sandbox.kapso.requests)
    running = place.desk.start("run", "p.toml", "--follow")
    until(lambda: len(place.sandbox.kapso.requests) > asked)

    listed = place.letters()
    done = place.desk.run("dead", command, "p.toml", "--all")

    stop(running)
    assert len(listed) == 5
    assert done.returncode == 6
    assert "in use by process" in done.stderr


def test_without_a_journal_there_are_none(tmp_path: Path, place: Place) -> None:
    text = (place.desk.folder / "p.toml").read_text()
    place.desk.write("other.toml", text)

    done = place.desk.run("dead", "list", "other.toml", "--json")

    assert (done.returncode, json.loads(done.stdout)) == (0, [])
