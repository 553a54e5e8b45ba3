"""How fast a pipeline carries events: Kapso to a file, beside the least that could be done.

``python benchmarks/carry.py`` serves 2,000 executions of 50 events from a process of its own and
takes turns at carrying all of them: the *floor* (raw sockets, every event decoded and written,
nothing durable) and the pipeline (journal and file durable). Absolute times say more of the
machine than of Levada; compare the ratio.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.synchronize import Event as Signal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from levada import Pipeline, Secret, Settings, Setup, SinkSetup, SourceSetup
from levada.sandbox import KapsoWorld, Sandbox
from levada_file.sink import FileSink
from levada_kapso.source import KapsoSource

CONNECTIONS = 16
KEY = "sandbox"


def main() -> None:
    """Run the benchmark and print a line a round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=50, help="events of each execution")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ports: multiprocessing.Queue[int] = context.Queue()
    over = context.Event()
    server = context.Process(target=serve, args=(options.executions, options.events, ports, over))
    server.start()
    try:
        compare(ports.get(), options)
    finally:
        over.set()
        server.join()


def serve(executions: int, events: int, ports: "multiprocessing.Queue[int]", over: Signal) -> None:
    """Serve a world until told otherwise."""
    world = KapsoWorld.sample(executions=executions, events=events, open=min(10, executions))
    with Sandbox.in_thread(kapso=world, stevora=None) as sandbox:
        ports.put(sandbox.kapso.port)
        over.wait()


def compare(port: int, options: argparse.Namespace) -> None:
    """Take turns, so that a machine that slows down slows both."""
    expected = options.executions * options.events
    rounds = []
    for number in range(options.rounds):
        floor = timed(lambda folder: bare(port, folder), expected)
        ours = timed(lambda folder: carry(port, folder, options.concurrency), expected)
        rounds.append((floor, ours))
        print(f"round {number + 1}: floor {floor:.2f} s, levada {ours:.2f} s, {ours / floor:.1f} x")
    floor, ours = (statistics.median(times) for times in zip(*rounds, strict=True))
    rate = expected / ours
    print(f"median: floor {floor:.2f} s, levada {ours:.2f} s, {ours / floor:.1f} x, {rate:,.0f}/s")


def timed(work: Callable[[Path], Awaitable[object]], expected: int) -> float:
    """Return the seconds that *work* takes to put all events in a file of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        asyncio.run(_finished(work(folder)))
        seconds = time.perf_counter() - began
        written = (folder / "events.jsonl").read_bytes().count(b"\n")
    if written != expected:
        raise SystemExit(f"{written} events were written instead of {expected}")
    return seconds


async def _finished(work: Awaitable[object]) -> None:
    await work


async def carry(port: int, folder: Path, concurrency: int) -> None:
    """Carry everything with a pipeline."""
    source = KapsoSource(api_key=Secret(KEY), base_url=f"http://127.0.0.1:{port}")
    settings = Settings(state=folder / "state", concurrency=concurrency)
    sink = FileSink(path=folder / "events.jsonl")
    await Pipeline(Setup([SourceSetup.of(source)], [SinkSetup.of(sink)], settings)).run()


async def bare(port: int, folder: Path) -> None:
    """Fetch everything over raw sockets and write it down."""
    (first,) = await _fetch(port, ["/workflows"])
    executions: list[str] = []
    for workflow in first["data"]:
        after: str | None = ""
        while after is not None:
            cursor = f"&after={quote(after)}" if after else ""
            path = f"/workflows/{workflow['id']}/executions?limit=100{cursor}"
            (page,) = await _fetch(port, [path])
            executions += [row["id"] for row in page["data"]]
            after = page["paging"]["next"]
    paths = [f"/workflow_executions/{each}/events?limit=100" for each in executions]
    shares = [paths[offset::CONNECTIONS] for offset in range(CONNECTIONS)]
    with (folder / "events.jsonl").open("w") as file:
        for pages in await asyncio.gather(*(_fetch(port, share) for share in shares)):
            for page in pages:
                file.writelines(json.dumps(event) + "\n" for event in reversed(page["data"]))


async def _fetch(port: int, paths: list[str]) -> list[Any]:
    """Fetch one path after the other on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    pages = []
    for path in paths:
        head = f"GET /platform/v1{path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n"
        writer.write(head.encode())
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(headers.partition(b"content-length:")[2].partition(b"\r")[0])
        pages.append(json.loads(await reader.readexactly(length)))
    writer.close()
    await writer.wait_closed()
    return pages


if __name__ == "__main__":
    main()
