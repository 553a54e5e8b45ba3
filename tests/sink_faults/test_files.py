"""A disk or a file in the way of the file sink: another file beside it gets everything."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from integration.test_cli_process import Desk, until
from plugin_faults.site import ALL, Site, table

NOBODY = 65534

GROWING = """
async def partitions(self, position, ctx):
    yield Partition("run-1")

async def read(self, partition, position, ctx):
    at = position or 0
    if Path("more").exists() or not at:
        raw = b'{"n":"%s"}' % (b"x" * 4000)
        found = [event(n, partition.key, raw=raw) for n in range(at, at + 20)]
        Path("more").unlink(missing_ok=True)
        yield Batch(found, position=at + 20)
"""


MANY = sorted(f"run-{run}/evt-{number}" for run in (1, 2) for number in range(400))

ONE_BY_ONE = """
async def read(self, partition, position, ctx):
    for at in range(position or 0, 400):
        yield Batch([event(at, partition.key)], position=at + 1)
"""


def pipeline(site: Site, path: str, options: str = "", settings: str = "") -> None:
    tables = (
        "[sources.numbers]\n"
        f'[sinks.risky]\nuse = "file"\npath = "{path}"\n{options}\n'
        '[sinks.safe]\nuse = "file"\npath = "safe.jsonl"\n'
    )
    site.pipeline(tables, settings)


def account(site: Site, name: str = "risky") -> dict[str, int]:
    """Return where the events of a sink are, having seen that none is missing."""
    done = site.desk.run("status", "p.toml", "--json")
    found: dict[str, Any] = {each["name"]: each for each in json.loads(done.stdout)["sinks"]}
    parts = ("delivered", "pending", "dead", "dropped", "filtered")
    assert found[name]["fetched"] == sum(found[name][part] for part in parts)
    return {part: found[name][part] for part in parts if found[name][part]}


def held(site: Site, name: str) -> int:
    """Return how many events a file holds."""
    path = site.desk.folder / name
    return path.read_bytes().count(b"\n") if path.exists() else 0


def mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)  # noqa: S607


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", disk)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small tmpfs needs root")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)  # noqa: S607


def strace(site: Site, inject: str, *paths: str) -> "subprocess.CompletedProcess[str]":
    """Run the pipeline while the kernel refuses some calls about *paths*."""
    program = shutil.which("strace")
    if not program:
        pytest.skip("strace is not installed")
    command = site.desk.command("run", "p.toml")
    filters = [word for path in paths for word in ("-P", str(site.desk.folder / path))]
    command["args"] = [
        *(program, "-f", "-qq", "-o", "/dev/null", "-e", f"inject={inject}"),
        *filters,
        *command["args"],
    ]
    return subprocess.run(**command, check=False, capture_output=True, timeout=50)


@pytest.mark.parametrize("free", [0, 20_000], ids=["full", "nearly full"])
def test_a_full_disk_is_waited_for_and_what_was_held_back_follows(
    site: Site, disk: Path, free: int
) -> None:
    site.source("numbers", GROWING)
    pipeline(site, "disk/out.jsonl")
    hog = disk / "hog"
    process = site.desk.start("run", "p.toml", "--follow")
    until(lambda: held(site, "disk/out.jsonl") == 20)
    with pytest.raises(OSError, match="No space"):
        hog.write_bytes(b"x" * 300_000)
    os.truncate(hog, hog.stat().st_size - free)

    (site.desk.folder / "more").touch()
    until(lambda: held(site, "safe.jsonl") == 40)
    assert process.stderr
    said = process.stderr.readline()
    while_full = held(site, "disk/out.jsonl")
    hog.unlink()
    until(lambda: held(site, "disk/out.jsonl") == 40)

    assert 20 <= while_full < 40  # what is cut off again may be seen for a moment
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=3)
    assert process.returncode == 0
    assert f"sink 'risky' is failing: no room to write {disk}" in said
    assert site.desk.ids("disk/out.jsonl") == site.desk.ids("safe.jsonl")
    assert account(site) == {"delivered": 40}


@pytest.mark.parametrize("size", [224, 260, pytest.param(356, marks=pytest.mark.faults)])
def test_a_journal_that_fills_the_disk_loses_nothing(site: Site, disk: Path, size: int) -> None:
    mount("-o", f"remount,size={size}k", disk)
    site.source("numbers", ONE_BY_ONE)
    pipeline(site, "out.jsonl", settings=f'state = "{disk / "state"}"')

    full = [site.desk.run("run", "p.toml").returncode for _ in range(2)]
    mount("-o", "remount,size=20m", disk)
    site.desk.run("run", "p.toml")
    site.desk.run("run", "p.toml")

    assert full == [74, 74]
    assert sorted(site.desk.ids("out.jsonl")) == MANY
    assert account(site) == {"delivered": len(MANY)}


def test_a_stop_while_the_disk_is_full_is_in_time_and_says_so(site: Site, disk: Path) -> None:
    site.source("numbers", GROWING)
    pipeline(site, "disk/out.jsonl")
    with pytest.raises(OSError, match="No space"):
        (disk / "hog").write_bytes(b"x" * 300_000)
    process = site.desk.start("run", "p.toml", "--follow")
    until(lambda: held(site, "safe.jsonl") == 20)

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=3)

    assert process.returncode == 75
    assert "sink 'risky' is failing: no room" in err
    assert account(site) == {"pending": 20}


@pytest.mark.parametrize(
    "error", table({it: it for it in ("EDQUOT", "ENOSPC", "EFBIG")}, quick={"EDQUOT"})
)
def test_a_quota_that_is_raised_again_costs_a_moment(site: Site, error: str) -> None:
    pipeline(site, "out.jsonl", settings='give_up_after = "20s"')

    done = strace(site, f"pwrite64:error={error}:when=1..2", "out.jsonl")

    assert done.returncode == 0, done.stderr
    assert "sink 'risky' is failing: no room to write" in done.stderr
    assert sorted(site.desk.ids("out.jsonl")) == sorted(ALL)
    assert account(site) == account(site, "safe") == {"delivered": len(ALL)}


def test_a_disk_that_fails_once_costs_a_segment(site: Site) -> None:
    pipeline(site, "out")

    done = strace(site, "fdatasync:error=EIO:when=1", "out/events-000001.jsonl")

    assert done.returncode == 0, done.stderr
    segments = sorted((site.desk.folder / "out").glob("events-*"))
    written = [name for path in segments for name in site.desk.ids(f"out/{path.name}")]
    assert sorted(written) == sorted(ALL)
    assert account(site) == {"delivered": len(ALL)}


@pytest.mark.parametrize("path", ["out", "out.jsonl"])
def test_a_disk_that_keeps_failing_stops_the_sink_alone(site: Site, path: str) -> None:
    pipeline(site, path)
    names = [path, *(f"{path}/events-{number:06}.jsonl" for number in (1, 2, 3))]

    done = strace(site, "fdatasync:error=EIO", *names)

    assert done.returncode == 74
    assert f"sink 'risky': the disk of {site.desk.folder / path} failed (Input/output error)" in (
        done.stderr
    )
    assert sorted(site.desk.ids("safe.jsonl")) == sorted(ALL)
    assert account(site) == {"pending": len(ALL)}


def below_a_file(desk: Desk) -> None:
    (desk.folder / "disk").rmdir()
    (desk.folder / "disk").touch()


def read_only(desk: Desk) -> None:
    mount("-t", "tmpfs", "-o", "ro", "tmpfs", desk.folder / "disk")


@pytest.mark.parametrize("how", [below_a_file, read_only])
@pytest.mark.parametrize("path", ["disk/out.jsonl", "disk/out"])
def test_what_cannot_be_written_is_told_before_anything_is_read(
    site: Site, how: Callable[[Desk], None], path: str
) -> None:
    site.source("numbers", "async def open(self, ctx): touch('asked')")
    pipeline(site, path)
    (site.desk.folder / "disk").mkdir()
    if how is read_only and os.geteuid():
        pytest.skip("mounting needs root")
    how(site.desk)

    done = site.desk.run("run", "p.toml")

    if how is read_only:
        subprocess.run(["umount", site.desk.folder / "disk"], check=True)  # noqa: S607
    assert done.returncode == 2
    assert f"{site.desk.folder}/disk" in done.stderr
    assert f"uid {os.geteuid()}" in done.stderr
    assert not (site.desk.folder / "asked").exists()


@pytest.fixture
def nobody() -> Iterator[tuple[Site, list[str]]]:
    """A site that belongs to nobody, and what runs a command as them."""
    become = [*("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")]
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("becoming somebody else needs root, and setpriv")
    with TemporaryDirectory() as name:  # pytest's own folders are for their owner alone
        folder = Path(name)
        site = Site(folder / "site", Desk(folder, {"PYTHONPATH": str(folder / "site")}))
        site.source("numbers", "async def open(self, ctx): touch('asked')")
        os.chown(folder, NOBODY, NOBODY)
        version = site.desk.command("--version")
        version["args"] = [*become, *version["args"]]
        if subprocess.run(**version, check=False, capture_output=True).returncode:
            pytest.skip("nobody else may start levada where it is installed")
        yield site, become


@pytest.mark.parametrize("path", ["theirs/out.jsonl", "theirs/out"])
def test_somebody_elses_folder_is_told_before_anything_is_read(
    nobody: tuple[Site, list[str]], path: str
) -> None:
    site, become = nobody
    pipeline(site, path)
    theirs = site.desk.folder / "theirs"
    theirs.mkdir(mode=0o755)
    command = site.desk.command("run", "p.toml")
    command["args"] = [*become, *command["args"]]

    done = subprocess.run(**command, check=False, capture_output=True, timeout=50)

    assert done.returncode == 2, done.stderr
    assert str(theirs) in done.stderr
    assert f"uid {NOBODY}" in done.stderr
    assert not (site.desk.folder / "asked").exists()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "cut short": lambda path: os.truncate(path, 100),
    "added to": lambda path: path.write_bytes(path.read_bytes() + b"mine\n"),
    "replaced": lambda path: (path.rename(path.with_name("old")), path.write_bytes(b"other\n")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_somebody_touched_stops_its_sink_alone(site: Site, damage: str) -> None:
    site.source("numbers", GROWING)
    pipeline(site, "out.jsonl")
    process = site.desk.start("run", "p.toml", "--follow")
    out = site.desk.folder / "out.jsonl"
    until(lambda: held(site, "out.jsonl") == 20)
    until(lambda: held(site, "safe.jsonl") == 20)

    DAMAGE[damage](out)
    left = out.read_bytes() if out.exists() else None
    (site.desk.folder / "more").touch()
    until(lambda: held(site, "safe.jsonl") == 40)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=3)

    assert process.returncode == 5
    assert f"sink 'risky': {out} " in err
    assert "--accept-identity-change" in err
    assert (out.read_bytes() if out.exists() else None) == left
    assert account(site) == {"delivered": 20, "pending": 20}


MOVES = [("one", "two", "one"), ("one.jsonl", "two.jsonl", "one.jsonl")]


@pytest.mark.parametrize("places", MOVES, ids=["folder", "file"])
def test_what_it_wrote_before_it_went_elsewhere_is_left_alone(
    site: Site, places: tuple[str, str, str]
) -> None:
    site.source("numbers")
    for place in places[:2]:
        pipeline(site, place)
        assert site.desk.run("run", "p.toml", "--accept-identity-change").returncode == 0
    before = everything_in(site.desk.folder / places[0])
    assert before

    pipeline(site, places[2])
    done = site.desk.run("run", "p.toml", "--accept-identity-change")

    assert done.returncode == 5
    assert "bytes that this sink, as it is now, did not write; move it away" in done.stderr
    assert everything_in(site.desk.folder / places[0]) == before


def test_what_it_wrote_before_its_receipt_was_damaged_is_left_alone(site: Site) -> None:
    site.source("numbers")
    pipeline(site, "out")
    site.desk.run("run", "p.toml")
    before = everything_in(site.desk.folder / "out")
    state = site.desk.folder / ".levada" / "p" / "state.db"
    with closing(sqlite3.connect(state, isolation_level=None)) as journal:
        journal.execute("UPDATE sink SET receipt = substr(receipt, 1, 9) WHERE name = 'risky'")

    repaired = site.desk.run("repair", "p.toml")
    done = site.desk.run("run", "p.toml")

    assert (repaired.returncode, done.returncode) == (0, 5)
    assert everything_in(site.desk.folder / "out") == before


def everything_in(place: Path) -> bytes:
    files = sorted(place.glob("events-*")) if place.is_dir() else [place]
    return b"".join(path.read_bytes() for path in files)


def test_two_sinks_on_one_file_are_refused_through_links_too(site: Site) -> None:
    site.source("numbers")
    (site.desk.folder / "real").mkdir()
    (site.desk.folder / "link").symlink_to("real")
    site.pipeline(
        "[sources.numbers]\n"
        "[sinks.one]\nuse = 'file'\npath = 'real/x.jsonl'\n"
        "[sinks.two]\nuse = 'file'\npath = 'link/x.jsonl'\n"
    )

    done = site.desk.run("run", "p.toml")

    assert done.returncode == 2
    assert "sinks 'one' and 'two' write to the same place" in done.stderr


def test_a_run_that_is_refused_touches_no_file(site: Site) -> None:
    site.source("numbers", "def identity(self): return 'here'")
    pipeline(site, "out.jsonl")
    site.desk.run("run", "p.toml")
    out = site.desk.folder / "out.jsonl"
    with out.open("ab") as file:
        file.write(b"what a crash left")
    before = out.read_bytes()

    site.source("numbers", "def identity(self): return 'elsewhere'")
    done = site.desk.run("run", "p.toml")

    assert done.returncode == 6
    assert out.read_bytes() == before
