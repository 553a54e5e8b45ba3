"""Standard output that is closed, full or not read: a file beside it gets everything."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path

import pytest

from integration.test_cli_process import STARTED, until
from plugin_faults.site import ALL, Site

TABLES = "[sources.numbers]\n[sinks.stdout]\n[sinks.file]\npath = 'out.jsonl'\n"

BULKY = """
async def read(self, partition, position, ctx):
    events = [event(n, partition.key, raw=b'{"n":"%s"}' % (b"x" * 9000)) for n in range(10)]
    yield Batch(events, position=10)
"""


@pytest.fixture
def stalled() -> Iterator[int]:
    """A pipe that is full, and that nobody reads."""
    reader, writer = os.pipe()
    fcntl(writer, F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    yield writer
    os.close(reader)
    os.close(writer)


def start(site: Site, *arguments: str, stdout: int, stderr: int) -> "subprocess.Popen[str]":
    command = site.desk.command("run", "p.toml", *arguments)
    process = subprocess.Popen(**command, stdout=stdout, stderr=stderr)
    STARTED.append(process)
    return process


def has_everything(site: Site) -> bool:
    out = site.desk.folder / "out.jsonl"
    return out.exists() and sorted(site.desk.ids("out.jsonl")) == sorted(ALL)


def pending(site: Site) -> list[int]:
    done = site.desk.run("status", "p.toml", "--json")
    return [each["pending"] for each in json.loads(done.stdout)["sinks"]]


def test_closed_from_the_start_is_a_configuration_error(site: Site) -> None:
    site.source("numbers", "async def open(self, ctx): touch('asked')")
    site.pipeline(TABLES)
    command = site.desk.command("run", "p.toml")
    shell = ["sh", "-c", f"exec {' '.join(command.pop('args'))} >&-"]

    done = subprocess.run(shell, **command, check=False, stderr=subprocess.PIPE, timeout=20)

    assert done.returncode == 2
    assert "sink 'stdout': standard output is closed" in done.stderr
    assert not (site.desk.folder / "asked").exists()


def test_a_full_disk_behind_it_is_waited_for(site: Site) -> None:
    site.pipeline(TABLES)
    with Path("/dev/full").open("w") as full:
        process = start(site, stdout=full.fileno(), stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=20)

    assert process.returncode == 75
    assert "sink 'stdout' is failing: standard output: No space left on device" in err
    assert has_everything(site)
    assert sorted(pending(site)) == [0, len(ALL)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_reader_that_stalls_does_not_hold_up_a_stop(
    site: Site, stalled: int, number: signal.Signals
) -> None:
    site.source("numbers", BULKY)
    site.pipeline(TABLES)
    process = start(site, stdout=stalled, stderr=subprocess.PIPE)
    until(lambda: has_everything(site))

    process.send_signal(number)
    _, err = process.communicate(timeout=3)

    assert process.returncode == 0
    assert "sink 'stdout' did not end its write; cancelling it" in err
    assert sorted(pending(site)) == [0, len(ALL)]


@pytest.mark.parametrize("signals", [1, 2])
def test_a_reader_that_stalls_on_both_streams_does_not_hold_up_a_stop(
    site: Site, stalled: int, signals: int
) -> None:
    site.pipeline(TABLES)
    process = start(site, stdout=stalled, stderr=stalled)
    until(lambda: has_everything(site))

    process.send_signal(signal.SIGTERM)
    if signals == 2:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGTERM)

    assert process.wait(3) == (75 if signals == 1 else 143)
    assert sorted(pending(site)) == [0, len(ALL)]
