"""Both connectors keep Levada's contract; every test but these few lines comes with Levada."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from levada_acme.sink import AcmeSink
from levada_acme.source import AcmeSource
from test_acme import Feed, item

from levada import Secret
from levada.testing import SinkContract, SourceContract


class TestAcmeSource(SourceContract):
    idle_requests = 1  # is there more?

    @pytest.fixture(autouse=True)
    def upstream(self) -> Iterator[None]:
        with Feed() as self.feed:
            Thread(target=self.feed.serve_forever, args=[0.01]).start()
            yield
            self.feed.shutdown()

    def make(self) -> AcmeSource:
        return AcmeSource(base_url=self.feed.url, api_key=Secret("acme-key"))

    def expected(self) -> list[tuple[str, str]]:
        return [("", each["id"]) for each in self.feed.items]

    def grow(self) -> None:
        self.feed.items.append(item(len(self.feed.items) + 1, "job.begin"))


class TestAcmeSink(SinkContract):
    @pytest.fixture(autouse=True)
    def destination(self, tmp_path: Path) -> None:
        self.path = tmp_path / "events.db"

    def make(self) -> AcmeSink:
        return AcmeSink(path=self.path)

    def written(self) -> list[str]:
        with closing(sqlite3.connect(self.path)) as file:
            rows = file.execute("SELECT line FROM event ORDER BY seq").fetchall()
        return [json.loads(line)["id"] for (line,) in rows]
