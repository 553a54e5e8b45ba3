"""Both connectors in a real pipeline, with a real server for the feed."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import pytest
from attrs import define
from levada_acme.sink import AcmeSink
from levada_acme.source import AcmeSource

from levada import Delivery, Fatal, Pipeline, Report, Secret, Settings, Setup, SinkContext
from levada.setup import SinkSetup, SourceSetup


class Feed(ThreadingHTTPServer):
    """ACME on this machine: serves `items`, two at a time, to who has the key."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.items: list[Any] = [item(1, "job.begin"), item(2, "job.log"), item(3, "job.end")]


class Handler(BaseHTTPRequestHandler):
    server: Feed

    def do_GET(self) -> None:
        after = int(parse_qs(urlsplit(self.path).query)["after"][0])
        self.send_response(200 if self.headers["X-API-Key"] == "acme-key" else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"events": self.server.items[after : after + 2]}).encode())

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def feed() -> Iterator[Feed]:
    with Feed() as feed:
        Thread(target=feed.serve_forever, args=[0.01]).start()
        yield feed
        feed.shutdown()


@define
class CrashingSink(AcmeSink):
    """Dies when the table has the events and the journal does not know it yet."""

    async def write(self, delivery: Delivery, ctx: SinkContext) -> NoReturn:
        await super().write(delivery, ctx)
        raise Fatal("power cut")


def item(number: int, kind: str) -> dict[str, str]:
    time = f"2026-03-02T09:00:{number:02}Z"
    return {"id": f"e{number}", "type": kind, "time": time, "job": "nightly"}


def run(
    feed: Feed, folder: Path, *, key: str = "acme-key", sink: type[AcmeSink] = AcmeSink
) -> Report:
    """Run feed to table once; the state stays in *folder*, as it does between two commands."""
    source = AcmeSource(base_url=feed.url, api_key=Secret(key))
    setup = Setup(
        sources=[SourceSetup.of(source)],
        sinks=[SinkSetup.of(sink(path=folder / "events.db"))],
        settings=Settings(state=folder / "state"),
    )
    return asyncio.run(Pipeline(setup).run())


def table(folder: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "events.db")) as file:
        return [json.loads(line) for (line,) in file.execute("SELECT line FROM event ORDER BY seq")]


def test_is_found_by_its_entry_point() -> None:
    (entry_point,) = entry_points(group="levada", name="acme")
    plugin = entry_point.load()

    assert plugin.event_sources() == [AcmeSource]
    assert plugin.event_sinks() == [AcmeSink]


def test_carries_every_event_in_order(feed: Feed, tmp_path: Path) -> None:
    report = run(feed, tmp_path)

    assert report.errors == []
    assert [line["data"] for line in table(tmp_path)] == feed.items
    assert [line.get("kind") for line in table(tmp_path)] == ["run.started", None, "run.completed"]


def test_goes_on_where_it_left_off(feed: Feed, tmp_path: Path) -> None:
    run(feed, tmp_path)
    feed.items.append(item(4, "job.begin"))

    report = run(feed, tmp_path)

    assert report.sources[0].events == 1
    assert [line["id"] for line in table(tmp_path)] == ["e1", "e2", "e3", "e4"]


def test_a_crash_between_table_and_journal_doubles_nothing(feed: Feed, tmp_path: Path) -> None:
    run(feed, tmp_path, sink=CrashingSink)
    assert table(tmp_path)

    report = run(feed, tmp_path)

    assert report.sinks[0].pending == 0
    assert [line["id"] for line in table(tmp_path)] == ["e1", "e2", "e3"]


def test_rejects_alone_what_is_no_event(feed: Feed, tmp_path: Path) -> None:
    feed.items.insert(1, {"id": "e0"})

    report = run(feed, tmp_path)

    assert report.sources[0].rejected == 1
    assert [line["id"] for line in table(tmp_path)] == ["e1", "e2", "e3"]


def test_a_refused_key_stops_the_source(feed: Feed, tmp_path: Path) -> None:
    report = run(feed, tmp_path, key="another key")

    assert f"401 from {feed.url}" in str(report.errors[0])
