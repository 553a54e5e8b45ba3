"""More than fits: memory and disk stay within what is promised, sources wait, nothing is dropped."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from integration.test_cli_process import Desk
from plugin_faults.site import Site

KIB, MIB = 1 << 10, 1 << 20

FLOOD = """
async def partitions(self, position, ctx):
    for run in range({runs}):
        yield Partition(f"run-{{run}}", version=1, final=True)

async def read(self, partition, position, ctx):
    at, raw = position or 0, b'{{"x":"%s"}}' % (b"x" * {size})
    for first in range(at, {each}, {step}):
        numbers = range(first, min(first + {step}, {each}))
        batch = [event(n, partition.key, raw=raw) for n in numbers]
        yield Batch(batch, position=numbers[-1] + 1)
"""

PROMISED = 150 * MIB
"""Of memory, beside answers of an upstream and the events in flight."""


@define
class Receiver:
    """Counts the events it gets, and takes its time."""

    server: ThreadingHTTPServer
    pause_s: float = 0.0
    events: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            time.sleep(found.pause_s)
            with counting:
                found.events += len(body)
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = Receiver(server)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@define
class Peak:
    """The most that a process had in memory, and its state folder on the disk."""

    memory: int = 0
    state: int = 0

    def look(self, pid: int, state: Path) -> None:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            held = sum(each.stat().st_size for each in state.glob("*"))
        except OSError:  # it has ended, or a file has gone
            return
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            self.memory = max(self.memory, int(found[1]) * KIB)
        self.state = max(self.state, held)


@define
class Load:
    """A pipeline from a source without pause into a file and another sink."""

    site: Site
    runs: int
    each: int

    def carry(self) -> tuple[int, str, Peak]:
        """Run it to its end; return the exit code, stderr, and what it took."""
        peak, over = Peak(), threading.Event()
        process = self.site.desk.start("run", "p.toml")

        def watch() -> None:
            while not over.wait(0.05):
                peak.look(process.pid, self.site.desk.folder / ".levada" / "p")

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            _, err = process.communicate()
        finally:
            over.set()
            watcher.join()
        return process.returncode, err, peak

    def accounts(self) -> dict[str, Any]:
        """Return what status says of the sinks, having seen that no event is missing."""
        status = json.loads(self.site.desk.run("status", "p.toml", "--json").stdout)
        for sink in status["sinks"]:
            parts = ("delivered", "pending", "dead", "dropped", "filtered")
            assert sink["fetched"] == sum(sink[part] for part in parts)
        return {sink["name"]: sink for sink in status["sinks"]}

    def assert_all_are_in(self, name: str) -> None:
        """Every event is in a file, once, in the order of its run."""
        found: dict[str, list[int]] = {}
        with (self.site.desk.folder / name).open() as lines:
            for line in lines:
                run, _, number = json.loads(line)["id"].partition("/evt-")
                found.setdefault(run, []).append(int(number))
        assert found == {f"run-{run}": [*range(self.each)] for run in range(self.runs)}


def load(site: Site, other: str, *, runs: int, each: int, size: int, journal: int) -> Load:
    step = max(1, min(100, 4 * MIB // size))
    site.source("flood", FLOOD.format(runs=runs, each=each, size=size, step=step))
    site.pipeline(
        f'[sources.flood]\n[sinks.file]\npath = "out.jsonl"\n{other}',
        f"max_journal_bytes = {journal}\nshutdown_timeout = '8s'\ngive_up_after = '3s'",
    )
    return Load(site, runs, each)


MEASURED = """
import os, subprocess, sys
_, code, used = os.wait4(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid, 0)
print(code, used.ru_maxrss)
"""


def max_memory(desk: Desk, *arguments: str) -> int:
    """Return the most memory that a command had, which ended well; a small process starts it."""
    command = desk.command(*arguments)
    command["args"] = [sys.executable, "-c", MEASURED, *command["args"]]
    done = subprocess.run(**command, stdout=subprocess.PIPE, check=True)
    code, peak = map(int, done.stdout.split())
    assert code == 0
    return peak * KIB


DEAD = """
async def write(self, delivery, ctx):
    if Path("dead").exists():
        raise Retry("it is dead")
    with open("late.jsonl", "ab") as file:
        file.write(b"".join(line + b"\\n" for line in delivery.lines))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system tells no peak")
@pytest.mark.parametrize(
    ("runs", "each", "size", "journal"),
    [
        pytest.param(2, 100, 600_000, 64 * MIB, id="large events"),
        pytest.param(1, 60_000, 300, 16 * MIB, id="small events", marks=pytest.mark.nightly),
        pytest.param(500, 100, 2_000, 32 * MIB, id="many runs", marks=pytest.mark.faults),
    ],
)
@pytest.mark.parametrize("lanes", [pytest.param(1, marks=pytest.mark.nightly), 4])
def test_a_dead_sink_stops_the_source_when_the_journal_is_full(
    site: Site, *, lanes: int, runs: int, each: int, size: int, journal: int
) -> None:
    site.sink("dead", f"lanes = {lanes}\n{DEAD}")
    world = load(site, "[sinks.dead]\n", runs=runs, each=each, size=size, journal=journal)
    dead = site.desk.write("dead", "")

    code, err, peak = world.carry()

    assert code == 75, err
    assert " % full; sink " in err
    assert peak.memory < PROMISED + 16 * size
    assert peak.state < journal
    accounts = world.accounts()
    assert accounts["dead"]["pending"] == accounts["dead"]["fetched"] < runs * each
    assert accounts["file"]["pending"] == 0

    dead.unlink()
    code, err, peak = world.carry()

    assert code == 0, err
    assert peak.memory < PROMISED + 16 * size
    assert peak.state < journal
    assert world.accounts()["dead"]["delivered"] == runs * each
    world.assert_all_are_in("out.jsonl")
    world.assert_all_are_in("late.jsonl")


REFUSING = """
lanes = 4

async def write(self, delivery, ctx):
    raise Reject({(each.partition, each.id): "no" for each in delivery.events})
"""


def test_dead_letters_stop_the_source_when_the_journal_is_full(site: Site) -> None:
    site.sink("refusing", REFUSING)
    world = load(site, "[sinks.refusing]\n", runs=40, each=50, size=20_000, journal=16 * MIB)

    code, err, peak = world.carry()

    assert code == 75, err
    assert (
        " % full, too full for what comes next; most of it is dead letters: see `levada dead list`, `retry` and `drop`"
        in err
    )
    assert peak.memory < PROMISED + 16 * 20_000
    assert peak.state < 16 * MIB
    assert "of it is dead letters: drop or retry them" in site.desk.run("status", "p.toml").stdout
    accounts = world.accounts()
    assert accounts["refusing"]["dead"] == accounts["refusing"]["fetched"] < 40 * 50
    assert accounts["file"]["pending"] == 0

    assert site.desk.run("dead", "drop", "p.toml", "--all").returncode == 0
    code, err, peak = world.carry()

    assert code == 75, err
    assert peak.state < 16 * MIB
    assert world.accounts()["refusing"]["dead"] > 200
    assert world.accounts()["refusing"]["dropped"] == accounts["refusing"]["dead"]


BAD_ITEMS = """
async def read(self, partition, position, ctx):
    for at in range(position or 0, 150):
        yield Batch([], rejected=[Rejected(b"%d" % at + b"x" * MIB, reason="no")], position=at + 1)
"""


def test_dead_letters_are_listed_and_dropped_without_their_records(site: Site) -> None:
    site.source("flood", BAD_ITEMS.replace("MIB", str(MIB)))
    site.pipeline('[sources.flood]\n[sinks.file]\npath = "out.jsonl"\n')
    assert site.desk.run("run", "p.toml").returncode == 0

    for command in ("list", "list --json", "drop --all"):
        name, *options = command.split()
        assert max_memory(site.desk, "dead", name, "p.toml", *options) < 100 * MIB, command
    assert site.desk.run("dead", "list", "p.toml").stdout == "no dead letters\n"


ANSWERS = """
url = ""

async def partitions(self, position, ctx):
    for run in range(16):
        yield Partition(f"run-{{run}}", version=1, final=True)

async def read(self, partition, position, ctx):
    answer = await ctx.http("{url}").get("/")
    yield Batch([event(0, partition.key, raw=answer.body)], position=1)
"""


def test_answers_that_are_refused_for_their_length_take_turns(site: Site) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(b"x" * 64 * MIB)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        url = f"http://127.0.0.1:{server.server_port}"
        site.source("flood", ANSWERS.format(url=url))
        site.pipeline(
            '[sources.flood]\n[sinks.file]\npath = "out.jsonl"\n',
            "concurrency = 16\ngive_up_after = '1s'",
        )
        code, err, peak = Load(site, 16, 1).carry()
        server.shutdown()

    assert code == 75, err
    assert "longer than 33554432 bytes" in err
    assert peak.memory < PROMISED + 2 * 32 * MIB


STUCK = """
lanes = 4

async def write(self, delivery, ctx):
    if delivery.events[0].partition == "run-0":
        raise Retry("not this one", after=timedelta(hours=1))
"""


def test_one_delivery_that_is_refused_for_now_holds_back_no_others(site: Site) -> None:
    site.sink("dead", STUCK)
    world = load(site, "[sinks.dead]\n", runs=300, each=100, size=300, journal=2 * MIB)

    code, err, _ = world.carry()

    assert code == 75, err
    assert world.accounts()["file"]["delivered"] == 300 * 100
    assert 100 <= world.accounts()["dead"]["pending"] < 1_000


@pytest.mark.nightly
@pytest.mark.timeout(1600)
def test_a_million_events_and_a_slow_sink(site: Site, receiver: Receiver) -> None:
    webhook = f'[sinks.webhook]\nurl = "{receiver.url}"\nbatch = true\n'
    world = load(site, webhook, runs=50, each=20_000, size=300, journal=64 * MIB)
    receiver.pause_s = 0.05

    code, err, peak = world.carry()

    assert code == 0, err
    assert peak.memory < PROMISED
    assert peak.state < 64 * MIB + 1_000_000 * 100  # the ids stay, so that none comes again
    world.assert_all_are_in("out.jsonl")
    assert receiver.events >= 1_000_000
