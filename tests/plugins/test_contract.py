"""Our own connectors keep the contract that everybody's have to keep."""

import gzip
import json
import os
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from levada import Secret
from levada.sandbox import KapsoWorld, Receiver, Sandbox, StevoraWorld
from levada.testing import SinkContract, SourceContract
from levada_file.sink import FileSink
from levada_kapso.source import KapsoSource
from levada_stdout.sink import StdoutSink
from levada_stevora.source import StevoraSource
from levada_webhook.sink import WebhookSink

T = TypeVar("T")


class TestKapso(SourceContract):
    idle_requests = 3  # the list of workflows, and the executions of each of the two

    @pytest.fixture(autouse=True)
    def upstream(self) -> Iterator[None]:
        self.world = KapsoWorld.sample(executions=5, events=7, open=2)
        with Sandbox.in_thread(kapso=self.world, stevora=None) as sandbox:
            self.url = sandbox.kapso.base_url
            yield

    def make(self) -> KapsoSource:
        return KapsoSource(base_url=self.url, api_key=Secret("sandbox"), page_size=3)

    def expected(self) -> list[tuple[str, str]]:
        runs = self.world.executions.items()
        return [(key, event.id) for key, run in runs for event in run.events]

    def grow(self) -> None:
        self.world.grow()


class TestStevora(SourceContract):
    idle_requests = 3  # five runs by three, and the one that is running

    @pytest.fixture(autouse=True)
    def upstream(self) -> Iterator[None]:
        self.world = StevoraWorld.sample(runs=5, events=7, open=2)
        with Sandbox.in_thread(kapso=None, stevora=self.world) as sandbox:
            self.url = sandbox.stevora.base_url
            yield

    def make(self) -> StevoraSource:
        return StevoraSource(base_url=self.url, api_key=Secret("sandbox"), page_size=3)

    def expected(self) -> list[tuple[str, str]]:
        runs = self.world.runs.items()
        return [(key, event.id) for key, run in runs for event in run.events]

    def grow(self) -> None:
        self.world.grow()


def ids(text: bytes) -> list[str]:
    return [json.loads(line)["id"] for line in text.splitlines()]


class TestOneFile(SinkContract):
    name: ClassVar[str] = "events.jsonl"

    @pytest.fixture(autouse=True)
    def destination(self, tmp_path: Path) -> None:
        self.path = tmp_path / self.name

    def make(self) -> FileSink:
        return FileSink(path=self.path)

    def written(self) -> list[str]:
        return ids(self.path.read_bytes()) if self.path.exists() else []


class TestGzipFile(TestOneFile):
    name = "events.jsonl.gz"

    def written(self) -> list[str]:
        return ids(gzip.decompress(self.path.read_bytes())) if self.path.exists() else []


class TestFolder(TestOneFile):
    name = "archive"

    def make(self) -> FileSink:
        return FileSink(path=self.path, rotate_bytes=2_000)

    def written(self) -> list[str]:
        return ids(b"".join(part.read_bytes() for part in sorted(self.path.glob("*.jsonl"))))


class TestWebhook(SinkContract):
    @pytest.fixture(autouse=True)
    def destination(self) -> Iterator[None]:
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        with Receiver.in_thread(secret=secret) as self.receiver:
            self.secret = Secret(secret)
            yield

    def make(self) -> WebhookSink:
        return WebhookSink(url=f"{self.receiver.url}/hook", secret=self.secret)

    def written(self) -> list[str]:
        return self.receiver.event_ids


class TestWebhookInBatches(TestWebhook):
    def make(self) -> WebhookSink:
        return WebhookSink(url=f"{self.receiver.url}/hook", secret=self.secret, batch=True)


class TestStdout(SinkContract):
    """To a file, which needs nobody to read it meanwhile."""

    @pytest.fixture(autouse=True)
    def destination(self, tmp_path: Path) -> None:
        self.path = tmp_path / "out.jsonl"
        self.path.touch()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        before, handle = os.dup(1), os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, 1)
        os.close(handle)
        try:
            return super().run(work)
        finally:
            os.dup2(before, 1)
            os.close(before)

    def make(self) -> StdoutSink:
        return StdoutSink()

    def written(self) -> list[str]:
        return ids(self.path.read_bytes())
