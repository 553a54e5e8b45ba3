"""A vendor that misbehaves, and the installed command that has to cope with it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

from attrs import define, frozen

from integration.test_cli_process import Desk
from levada.sandbox import (
    Fault,
    KapsoServer,
    KapsoWorld,
    RecordedRequest,
    Sandbox,
    StevoraServer,
    StevoraWorld,
)

Vendor: TypeAlias = Literal["kapso", "stevora"]
Where: TypeAlias = Literal["lists", "events"]

VENDORS: tuple[Vendor, ...] = ("kapso", "stevora")

KEY = "cnry-0123456789"
EXECUTIONS, EACH = 3, 5
EVENTS = EXECUTIONS * EACH

QUICK = """
give_up_after = "300ms"
request_timeout = "400ms"
max_response_bytes = 1_048_576
poll_interval = "100ms"
"""


@frozen
class Outcome:
    """How one command ended. `requests` are those that reached the vendor meanwhile."""

    code: int
    out: str
    err: str
    seconds: float
    requests: int


@define
class Upstream:
    """One vendor in the sandbox, and a pipeline from it to a file."""

    vendor: Vendor
    server: KapsoServer | StevoraServer
    desk: Desk
    settings: str = QUICK
    options: str = ""

    def levada(self, *arguments: object, **env: str) -> Outcome:
        """Run ``levada *arguments`` and require what holds for every run."""
        before, began = len(self.server.requests), time.monotonic()
        done = self.desk.run(*arguments, **env)
        took_s, after = time.monotonic() - began, len(self.server.requests)
        assert "Traceback" not in done.stderr + done.stdout
        assert "internal error" not in done.stderr
        assert KEY not in done.stderr + done.stdout
        return Outcome(done.returncode, done.stdout, done.stderr, took_s, after - before)

    def run(self, *arguments: object, base_url: str | None = None, **env: str) -> Outcome:
        """Run the pipeline."""
        self.desk.write(
            "p.toml",
            f'[sources.{self.vendor}]\nbase_url = "{base_url or self.server.base_url}"\n'
            f'{self.options}[sinks.file]\npath = "events.jsonl"\n[pipeline]{self.settings}',
        )
        return self.levada("run", "p.toml", *arguments, **env)

    def fail(self, fault: Fault, where: Where | None = None) -> None:
        """Let *fault* happen to every request, or to those for one kind of thing."""
        self.server.faults = lambda request: (
            fault if where is None or where == asks_for(request) else None
        )

    def heal(self) -> None:
        """Answer as the vendor does."""
        self.server.faults = []

    @property
    def delivered(self) -> list[str]:
        """The ids in the file, as often as they are there."""
        path = self.desk.folder / "events.jsonl"
        return sorted(self.desk.ids("events.jsonl")) if path.exists() else []

    @property
    def expected(self) -> list[str]:
        """The ids that the vendor has."""
        return sorted(str(event.id) for event in self.server.world.events)

    @property
    def status(self) -> dict[str, Any]:
        """What `levada status` tells of the source."""
        status = json.loads(self.levada("status", "p.toml", "--json").out)
        (source,) = status["sources"]
        found: dict[str, Any] = source
        return found


def asks_for(request: RecordedRequest) -> Where:
    """Tell what a request asks for; Kapso shows events in an execution's detail too."""
    has_events = request.path.endswith("/events") or "/workflow_executions/" in request.path
    return "events" if has_events else "lists"


@contextmanager
def upstream(vendor: Vendor, folder: Path, *, events: int = EACH) -> Iterator[Upstream]:
    """Serve a vendor with three executions, all over, that have so many events each."""
    size = {"executions" if vendor == "kapso" else "runs": EXECUTIONS, "events": events, "open": 0}
    worlds: dict[str, Callable[..., Any]] = {
        "kapso": KapsoWorld.sample,
        "stevora": StevoraWorld.sample,
    }
    world = worlds[vendor](**size)
    with Sandbox.in_thread(
        kapso=world if vendor == "kapso" else None,
        stevora=world if vendor == "stevora" else None,
        kapso_key=KEY,
        stevora_key=KEY,
    ) as sandbox:
        server = sandbox.kapso if vendor == "kapso" else sandbox.stevora
        yield Upstream(vendor, server, Desk(folder, {f"{vendor.upper()}_API_KEY": KEY}))
