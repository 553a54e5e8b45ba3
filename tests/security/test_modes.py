"""Who may read what is left on disk."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.test_cli_process import Desk, until
from levada.sandbox import KapsoWorld, Sandbox

CARRY = '[sources.kapso]\nbase_url = "{url}"\n[sinks.file]\npath = "out"\n'


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.in_thread(kapso=KapsoWorld.sample(executions=6), stevora=None) as running:
        yield running


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o7777 for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_modes_do_not_depend_on_the_umask(desk: Desk, sandbox: Sandbox, umask: int) -> None:
    desk.write(
        "p.toml",
        f'[sources.kapso]\nbase_url = "{sandbox.kapso.url}"\n'
        '[sinks.one]\nuse = "file"\npath = "one.jsonl"\n'
        '[sinks.many]\nuse = "file"\npath = "many"\n'
        '[sinks.open]\nuse = "file"\npath = "open.jsonl"\nmode = "0644"\n',
    )
    command = desk.command("run", "p.toml", "--follow", KAPSO_API_KEY=sandbox.kapso_key)
    with subprocess.Popen(
        **command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, umask=umask
    ) as process:
        try:
            until((desk.folder / "open.jsonl").exists)
            until(lambda: len(modes(desk.folder / ".levada" / "p")) >= 4)
            found = modes(desk.folder)
        finally:
            process.terminate()

    assert (found[".levada"], found["p"]) == (0o700, 0o700)
    state = {name: mode for name, mode in found.items() if name.startswith("state.")}
    assert set(state) == {"state.db", "state.db-wal", "state.db-shm", "state.lock"}
    assert set(state.values()) == {0o600}
    segments = {mode for name, mode in modes(desk.folder / "many").items() if "jsonl" in name}
    assert (found["one.jsonl"], segments, found["open.jsonl"]) == (0o640, {0o640}, 0o644)
    assert (desk.folder / ".levada" / "p").stat().st_uid == os.getuid()


def test_a_state_folder_that_everybody_may_write_to_is_refused(
    desk: Desk, sandbox: Sandbox
) -> None:
    state = desk.folder / "state"
    state.mkdir()
    state.chmod(0o777)
    desk.write("p.toml", f'[pipeline]\nstate = "state"\n{CARRY.format(url=sandbox.kapso.url)}')

    done = desk.run("run", "p.toml", KAPSO_API_KEY=sandbox.kapso_key)

    assert done.returncode == 6
    assert f"everybody may write to the state folder {state}; run: chmod 700" in done.stderr
    assert list(state.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_somebody_else_is_refused(desk: Desk, sandbox: Sandbox) -> None:
    state = desk.folder / "state"
    state.mkdir(mode=0o700)
    os.chown(state, 65534, -1)
    desk.write("p.toml", f'[pipeline]\nstate = "state"\n{CARRY.format(url=sandbox.kapso.url)}')

    done = desk.run("run", "p.toml", KAPSO_API_KEY=sandbox.kapso_key)

    assert done.returncode == 6
    assert f"the state folder {state} belongs to user 65534" in done.stderr
    assert list(state.iterdir()) == []


def test_repair_refuses_a_folder_that_everybody_may_write_to(desk: Desk, sandbox: Sandbox) -> None:
    desk.write("p.toml", CARRY.format(url=sandbox.kapso.url))
    desk.run("run", "p.toml", KAPSO_API_KEY=sandbox.kapso_key)
    (desk.folder / ".levada" / "p").chmod(0o707)

    done = desk.run("repair", "p.toml")

    assert done.returncode == 6
    assert "everybody may write" in done.stderr
