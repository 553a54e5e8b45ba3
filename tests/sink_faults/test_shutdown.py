"""A first signal ends a run in time wherever it is; a second one at once."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.test_cli_process import until
from levada.sandbox import Receiver
from plugin_faults.site import Site

HOOK = '[sources.numbers]\n[sinks.hook]\nuse = "webhook"\nurl = "{}"\n'
FILE = '[sources.numbers]\n[sinks.file]\npath = "out.jsonl"\n'

LONG = """
async def partitions(self, position, ctx):
    yield Partition("run-1")

async def read(self, partition, position, ctx):
    for at in range(position or 0, 1_000_000):
        yield Batch([event(at, partition.key)], position=at + 1)
        await asyncio.sleep(0.002)
"""

# A resolver that does not answer: what it does is in C, and cannot be cancelled.
SILENT_RESOLVER = """
import socket, time
from pathlib import Path

def silent(*_, **__):
    Path("resolving").touch()
    time.sleep(60)

socket.getaddrinfo = silent
"""

Started = tuple[Callable[[], object], int]
"""What shows that the run is where the test wants it, and how the first signal ends it."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def idle(site: Site, stack: ExitStack) -> Started:
    site.pipeline(FILE, "poll_interval = '1h'")
    out = site.desk.folder / "out.jsonl"
    return lambda: out.exists() and len(site.desk.ids("out.jsonl")) == 20, 0


def in_a_first_read(site: Site, stack: ExitStack) -> Started:
    site.source("numbers", LONG)
    site.pipeline(FILE)
    out = site.desk.folder / "out.jsonl"
    return lambda: out.exists() and out.read_bytes().count(b"\n") > 50, 0


def waiting_as_it_was_asked_to(site: Site, stack: ExitStack) -> Started:
    answers = lambda _: (429, {"Retry-After": "600"}, 0.0)  # noqa: E731
    receiver = stack.enter_context(Receiver.in_thread(answers=answers))
    site.pipeline(HOOK.format(receiver.url))
    warned = site.desk.folder / ".levada/p/state.db"
    return lambda: len(receiver.deliveries) == 2 and warned.exists(), 75


def at_a_stuck_receiver(site: Site, stack: ExitStack) -> Started:
    receiver = stack.enter_context(Receiver.in_thread(answers=lambda _: (204, {}, 60.0)))
    site.pipeline(HOOK.format(receiver.url))
    return lambda: receiver.deliveries, 0


def at_a_silent_resolver(site: Site, stack: ExitStack) -> Started:
    (site.folder / "sitecustomize.py").write_text(SILENT_RESOLVER)
    site.pipeline(HOOK.format("http://hooks.example.test/"))
    return (site.desk.folder / "resolving").exists, -1


PLACES = [
    idle,
    in_a_first_read,
    waiting_as_it_was_asked_to,
    at_a_stuck_receiver,
    at_a_silent_resolver,
]


def start(
    site: Site, stack: ExitStack, place: Callable[[Site, ExitStack], Started]
) -> tuple["subprocess.Popen[str]", int]:
    there, code = place(site, stack)
    process = site.desk.start("run", "p.toml", "--follow")
    until(there)
    return process, code


def balanced(folder: Path, site: Site) -> bool:
    status = json.loads(site.desk.run("status", "p.toml", "--json").stdout)
    parts = ("delivered", "pending", "dead", "dropped", "filtered")
    return all(each["fetched"] == sum(map(each.get, parts)) for each in status["sinks"])


@pytest.mark.parametrize("place", PLACES)
def test_the_first_signal_ends_it_in_time(
    site: Site, stack: ExitStack, place: Callable[[Site, ExitStack], Started]
) -> None:
    process, code = start(site, stack, place)

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=3)  # `shutdown_timeout` is one second here

    assert "Traceback" not in err
    if code >= 0:
        assert process.returncode == code
    else:
        assert process.returncode in {0, 75}
    assert balanced(site.desk.folder, site)


@pytest.mark.parametrize("place", [at_a_stuck_receiver, at_a_silent_resolver])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_signal_ends_it_at_once(
    site: Site,
    stack: ExitStack,
    place: Callable[[Site, ExitStack], Started],
    number: signal.Signals,
    code: int,
) -> None:
    process, _ = start(site, stack, place)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)

    began = time.monotonic()
    process.send_signal(number)

    assert process.wait(3) == code
    assert time.monotonic() - began < 0.5
    assert balanced(site.desk.folder, site)
    process.communicate()
