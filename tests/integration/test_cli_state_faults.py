"""A state folder in the wrong place or state: every command says what is wrong, and changes nothing."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from integration.test_cli_process import Desk, until
from integration.test_cli_run import pipeline
from integration.test_cli_state import accounts
from levada.sandbox import KapsoWorld, Sandbox

READING = ("status p.toml", "dead list p.toml", "verify p.toml --since 2020-01-01T00:00:00Z")
WRITING = ("run p.toml", "enable p.toml file", "repair p.toml")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=6), stevora=None) as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, sandbox: Sandbox) -> Desk:
    """A desk with a pipeline that has run, its state in `place/state`."""
    desk = Desk(tmp_path, {"KAPSO_API_KEY": sandbox.kapso_key})
    sinks = '[sinks.file]\npath = "events.jsonl"\n'
    desk.write("p.toml", pipeline(sandbox, sinks, 'state = "place/state"'))
    (tmp_path / "place").mkdir()
    assert desk.run("run", "p.toml").returncode == 0
    return desk


def state(desk: Desk) -> Path:
    return desk.folder / "place" / "state"


def run(desk: Desk, command: str) -> "subprocess.CompletedProcess[str]":
    return desk.run(*command.split())


def refused(desk: Desk, command: str, *says: str, code: int = 6) -> None:
    done = run(desk, command)
    assert done.returncode == code, done.stderr
    for words in says:
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def mount(*arguments: object) -> None:
    try:
        subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting needs root")


def unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", place], check=True)  # noqa: S607


@pytest.fixture
def read_only(desk: Desk) -> Iterator[Path]:
    place = desk.folder / "place"
    mount("--bind", place, place)
    try:
        mount("-o", "remount,ro,bind", place)
        yield place
    finally:
        unmount(place)


@pytest.fixture
def full(desk: Desk) -> Iterator[Path]:
    place = desk.folder / "place"
    kept = desk.folder / "kept"
    shutil.move(place / "state", kept)
    mount("-t", "tmpfs", "-o", "size=400k", "tmpfs", place)
    try:
        shutil.copytree(kept, place / "state")
        with pytest.raises(OSError, match="No space"):
            (place / "hog").write_bytes(b"x" * 400_000)
        yield place
    finally:
        unmount(place)


@pytest.mark.parametrize("command", READING)
def test_what_only_reads_works_on_a_read_only_disk(
    desk: Desk, read_only: Path, command: str
) -> None:
    assert run(desk, command).returncode == 0


@pytest.mark.parametrize("command", READING)
def test_what_only_reads_works_on_a_full_disk(desk: Desk, full: Path, command: str) -> None:
    assert run(desk, command).returncode == 0


@pytest.mark.parametrize("command", WRITING)
def test_what_writes_says_that_the_disk_is_read_only(
    desk: Desk, read_only: Path, command: str
) -> None:
    refused(desk, command, str(state(desk)), "Read-only file system")


@pytest.mark.parametrize("command", WRITING[:2])  # a repair has nothing to do
def test_what_writes_says_that_the_disk_is_full(desk: Desk, full: Path, command: str) -> None:
    before = sorted(state(desk).glob("*"))

    refused(desk, command, "state.db cannot be", "its disk is full, or fails", code=74)

    kept = {"state.db-wal", "state.db-shm"}  # SQLite's
    assert [each for each in sorted(state(desk).glob("*")) if each.name not in kept] == before
    (full / "hog").unlink()
    assert run(desk, command).returncode == 0


@pytest.mark.parametrize("free", [0, 5000, 30_000])
def test_a_disk_on_which_no_journal_can_be_made_is_told(desk: Desk, full: Path, free: int) -> None:
    shutil.rmtree(state(desk))
    (full / "hog").write_bytes(b"")
    with pytest.raises(OSError, match="No space"):
        (full / "hog").write_bytes(b"x" * 500_000)
    os.truncate(full / "hog", (full / "hog").stat().st_size - free)

    refused(desk, "run p.toml", str(state(desk)), code=74)

    (full / "hog").unlink()
    assert run(desk, "run p.toml").returncode == 5  # its file is there, its journal is not


def test_a_repair_that_finds_no_room_leaves_nothing_behind(desk: Desk, full: Path) -> None:
    path = state(desk) / "state.db"
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(bytes(4096))
    before = {each.name: each.read_bytes() for each in state(desk).iterdir()}

    refused(desk, "repair p.toml", "state.db cannot be repaired", "No space left", code=74)

    del before["state.lock"]
    assert before == {name: (state(desk) / name).read_bytes() for name in before}
    assert not [each for each in state(desk).iterdir() if "damaged" in each.name]


@pytest.mark.parametrize("command", [*READING, *WRITING])
@pytest.mark.parametrize("what", ["a pipe", "a folder", "a device"])
def test_a_journal_that_is_no_file_is_refused(desk: Desk, command: str, what: str) -> None:
    path = state(desk) / "state.db"
    path.unlink()
    if what == "a pipe":
        os.mkfifo(path)
    elif what == "a folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")

    refused(desk, command, f"{path} is not a file")


@pytest.mark.parametrize("name", ["state.db-wal", "state.db-shm"])
def test_a_pipe_in_the_place_of_what_is_beside_a_journal_is_refused(desk: Desk, name: str) -> None:
    path = state(desk) / name
    os.mkfifo(path)

    for command in (*READING, *WRITING):
        refused(desk, command, f"{path} is not a file; move it away")

    path.unlink()
    assert run(desk, "run p.toml").returncode == 0


def test_a_journal_that_is_a_link_to_nothing_is_not_begun_again(desk: Desk) -> None:
    path = state(desk) / "state.db"
    path.rename(desk.folder / "unmounted")
    path.symlink_to(desk.folder / "volume")

    refused(desk, "run p.toml", f"{path} is not there")

    (desk.folder / "unmounted").rename(desk.folder / "volume")
    assert run(desk, "run p.toml").returncode == 0


def test_a_journal_that_is_gone_is_missed_where_something_of_it_is_left(desk: Desk) -> None:
    crash(desk)
    (state(desk) / "state.db").unlink()

    for command in (*READING, *WRITING, "dead drop p.toml --all"):
        refused(desk, command, "state.db is missing, but not state.db-wal and state.db.sums; rest")

    (state(desk) / "state.db-wal").unlink()
    refused(desk, "status p.toml", "remove state.db.sums as well to start afresh")
    assert not (state(desk) / "state.db").exists()


def test_a_journal_that_is_taken_away_during_a_run_ends_it(desk: Desk) -> None:
    process = desk.start("run", "p.toml", "--follow")
    until(lambda: b"closed2" in (state(desk) / "state.db").read_bytes())
    until((state(desk) / "state.db.sums").exists)
    (state(desk) / "state.db").unlink()

    _, said = process.communicate(timeout=20)

    assert process.returncode == 6
    assert "state.db was removed or replaced while it was in use" in said


def crash(desk: Desk) -> None:
    """Kill a run once its journal says that it is open, and that its log says more."""
    process = desk.start("run", "p.toml", "--follow")
    log = state(desk) / "state.db-wal"
    until(lambda: log.exists() and b"closed-" in log.read_bytes())
    process.kill()
    process.wait()


@pytest.mark.parametrize("command", [*READING, "repair p.toml"])
def test_after_a_crash_nothing_takes_the_log_away_before_the_next_run(
    desk: Desk, command: str
) -> None:
    crash(desk)

    first = run(desk, command)
    again = run(desk, "run p.toml")

    assert (first.returncode, again.returncode) == (0, 0), again.stderr


@pytest.mark.parametrize("how", ["mode=rw", "mode=ro"])
def test_after_a_crash_another_program_may_look_at_the_journal(desk: Desk, how: str) -> None:
    crash(desk)
    place = f"{(state(desk) / 'state.db').as_uri()}?{how}"
    with closing(sqlite3.connect(place, uri=True)) as other:
        assert other.execute("SELECT count(*) FROM event").fetchone() == (6 * 8,)

    done = run(desk, "run p.toml")

    assert done.returncode == 0, done.stderr
    assert ("has no log" in done.stderr) == (how == "mode=rw")


def test_after_a_crash_a_full_disk_does_not_take_the_log_away(desk: Desk, full: Path) -> None:
    (full / "hog").unlink()
    crash(desk)
    with pytest.raises(OSError, match="No space"):
        (full / "hog").write_bytes(b"x" * 500_000)

    refused(desk, "run p.toml", "its disk is full, or fails", code=74)

    (full / "hog").unlink()
    assert run(desk, "run p.toml").returncode == 0


def test_a_log_that_was_removed_after_a_crash_is_missed_whoever_looks_first(desk: Desk) -> None:
    crash(desk)
    (state(desk) / "state.db-wal").unlink()
    (state(desk) / "state.db-shm").unlink(missing_ok=True)

    for command in (*READING, "run p.toml"):
        refused(desk, command, "its log, state.db-wal, is missing", "levada repair")
    repaired = run(desk, "repair p.toml")
    again = run(desk, "run p.toml")

    assert repaired.returncode == again.returncode == 0, again.stderr
    assert "its log, state.db-wal, was missing" in repaired.stdout
    assert all(accounts(json.loads(desk.run("status", "p.toml", "--json").stdout)).values())
    ids = desk.ids("events.jsonl")
    assert len(ids) == len(set(ids)) == 6 * 8
