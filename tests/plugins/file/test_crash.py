"""Kill -9 at any moment: every event is in the files exactly once, in order, in whole lines."""

import asyncio
import gzip
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from plugins.file.victim import PER_DELIVERY, be_the_victim

VICTIM = Path(__file__).with_name("victim.py")
KILLS = 12  # for each of three ways to write
STRACE = shutil.which("strace")


def victim(folder: Path, name: str, *, last: int) -> list[str]:
    return [sys.executable, str(VICTIM), str(folder), name, str(last)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def committed(folder: Path) -> int:
    try:
        with closing(sqlite3.connect(folder / "state.db")) as state:
            row = state.execute("SELECT seq FROM sink").fetchone()
    except sqlite3.OperationalError:
        return 0
    return row[0] if row else 0


def finish(folder: Path, name: str) -> None:
    """Let the victim live for a few more deliveries; as part of this process it starts sooner."""
    last = committed(folder) + 3 * PER_DELIVERY
    asyncio.run(be_the_victim(folder, name, last))


def check(folder: Path, name: str) -> None:
    """Every event up to the cursor is there once, in order; nothing else is."""
    place = folder / name
    files = sorted(place.glob("events-*")) if place.is_dir() else [place]
    text = b"".join(
        gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for file in files
    )
    assert text.endswith(b"\n")
    found = [int(json.loads(line)["sequence"]) for line in text.splitlines()]
    assert found == list(range(1, committed(folder) + 1))


@pytest.mark.parametrize("name", ["events.jsonl", "archive", "packed"])
def test_survives_kill_9_at_random_moments(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)  # noqa: S311  # a schedule that repeats
    command = victim(tmp_path, name, last=1_000_000)
    killed = 0
    for _ in range(KILLS):
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.03))
            process.kill()
        killed += process.returncode == -signal.SIGKILL

    finish(tmp_path, name)

    assert killed == KILLS
    assert committed(tmp_path) > KILLS
    check(tmp_path, name)


@pytest.mark.skipif(not STRACE, reason="strace is not installed")
@pytest.mark.parametrize("name", ["events.jsonl", "archive"])
@pytest.mark.parametrize("call", ["openat", "pwrite64", "fdatasync", "fsync", "unlink", "close"])
def test_survives_kill_9_at_the_nth_call(call: str, name: str, tmp_path: Path) -> None:
    hidden = [tmp_path / ".events.jsonl.levada", tmp_path / "archive/.events.levada"]
    segments = [tmp_path / f"archive/events-{number:06d}.jsonl" for number in range(1, 20)]
    paths = [tmp_path, tmp_path / "events.jsonl", tmp_path / "archive", *hidden, *segments]
    only = [part for path in paths for part in ("-P", str(path))]
    hits = 0
    for nth in (1, 2, 4):
        inject = ["-f", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={nth}", *only]
        last = committed(tmp_path) + 6 * PER_DELIVERY
        command = [str(STRACE), *inject, *victim(tmp_path, name, last=last)]
        done = subprocess.run(command, check=False, env=environment(), stderr=subprocess.DEVNULL)
        hits += done.returncode == -signal.SIGKILL

    finish(tmp_path, name)

    assert hits
    check(tmp_path, name)


@pytest.mark.skipif(not STRACE, reason="strace is not installed")
def test_what_is_committed_would_survive_a_power_loss(tmp_path: Path) -> None:
    """Nothing counts before its name and its bytes are on the disk, in this order."""
    trace = tmp_path / "trace"
    calls = "trace=openat,pwrite64,fdatasync,fsync"
    command = [str(STRACE), "-f", "-y", "-s", "1", "-o", str(trace), "-e", calls]
    last = 2 * PER_DELIVERY
    subprocess.run(
        [*command, *victim(tmp_path, "archive", last=last)], check=True, env=environment()
    )

    steps = [step for line in trace.read_text().splitlines() if (step := step_of(line))]

    begin = ["sync intent", "sync folder", "create segment", "sync folder"]
    rotated = [*begin, "write segment", "sync segment", "commit"]
    assert steps[steps.index("sync intent") :][: 2 * len(rotated)] == [*rotated, *rotated]


def step_of(line: str) -> str | None:
    """Name what a line of strace's output does to the sink's files or to the journal."""
    call = line.split(maxsplit=1)[1].partition("(")[0]
    if "O_EXCL" in line and "/events-" in line:
        return "create segment"
    for path, what in {
        ".jsonl>": "segment",
        ".levada>": "intent",
        "/archive>": "folder",
    }.items():
        if path in line and call != "openat":
            return ("write " if call == "pwrite64" else "sync ") + what
    return "commit" if "state.db-wal>" in line and call in {"fsync", "fdatasync"} else None
