"""Who may read what is left on disk."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
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
    """Return the mode of everything in a folder, also while a pipeline makes and removes files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        with suppress(FileNotFoundError):
            found[path.name] = path.stat().st_mode & 0o7777
    return found


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
            until(lambda: len(modes(desk.folder / ".levada" / "p")) >= 5)
            found = modes(desk.folder)
        finally:
            process.terminate()

    assert (found[".levada"], found["p"]) == (0o700, 0o700)
    state = {name: mode for name, mode in found.items() if name.startswith("state.")}
    files = {"state.db", "state.db-wal", "state.db-shm", "state.db.sums", "state.lock"}
    assert set(state) == files
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


EMBEDDED = """
import asyncio, os, sys
from pathlib import Path
from levada import Pipeline, Secret, Settings, Setup, SinkSetup, SourceSetup
from levada_file.sink import FileSink
from levada_kapso.source import KapsoSource

os.umask(0)
source = KapsoSource(base_url=sys.argv[1], api_key=Secret(sys.argv[2]))
sinks = [FileSink(path=Path("one.jsonl.gz")), FileSink(path=Path("deep/er/many"), rotate_bytes=1)]
setup = Setup(
    sources=[SourceSetup.of(source)],
    sinks=[SinkSetup.of(sink, name=f"s{i}") for i, sink in enumerate(sinks)],
    settings=Settings(state=Path("not/yet/there")),
)
assert asyncio.run(Pipeline(setup).run()).ending == "done"
"""


def test_a_program_that_cares_for_no_umask_leaves_nothing_open(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    command = [sys.executable, "-c", EMBEDDED, sandbox.kapso.url, sandbox.kapso_key]

    subprocess.run(command, check=True, cwd=tmp_path, timeout=50)

    found = modes(tmp_path)
    assert {name for name in found if found[name] & 0o022} == set()
    assert {found[name] for name in ("not", "yet", "there")} == {0o700}
    assert {mode for name, mode in found.items() if name.startswith("state.")} == {0o600}
    assert (found["one.jsonl.gz"], found["many"], found["deep"]) == (0o640, 0o750, 0o750)


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_no_command_makes_what_others_may_write_to_or_state_that_they_may_read(
    desk: Desk, sandbox: Sandbox, umask: int
) -> None:
    desk.write("p.toml", CARRY.format(url=sandbox.kapso.url)).chmod(0o644)
    key = {"KAPSO_API_KEY": sandbox.kapso_key}

    for use in ("run p.toml", "init kapso file --output new.toml", "demo --directory demo"):
        subprocess.run(**desk.command(*use.split(), **key), check=True, umask=umask, timeout=50)
    journal = desk.folder / ".levada" / "p" / "state.db"
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("UPDATE event SET crc = crc + 1 WHERE seq = 1")
    subprocess.run(**desk.command("repair", "p.toml"), check=True, umask=umask, timeout=50)

    found = {str(path.relative_to(desk.folder)): path for path in desk.folder.rglob("*")}
    mode = {name: path.stat().st_mode & 0o777 for name, path in found.items()}
    assert any("damaged" in name for name in found)
    assert {name for name in mode if mode[name] & 0o022} == set()
    state = {name for name in found if ".levada" in name or name.startswith("demo/")}
    secret = {name for name in state if not name.endswith((".jsonl", "pipeline.toml"))}
    assert {name for name in secret if mode[name] & 0o077} == set()
