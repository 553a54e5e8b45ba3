"""What stands in for the host. It imports no pytest: programs that are killed start with it."""

from datetime import UTC, datetime, timedelta

from attrs import define, field

from levada import ApiKey, Event, HttpClient, Json, Origin

ORIGIN = Origin("kapso", "acme", "https://api.kapso.ai/executions/run-1")
START = datetime(2026, 1, 2, tzinfo=UTC)


@define
class Context:
    """What a host offers to a file sink."""

    name: str = "archive"
    journal: str = "5f0c7a1e-0000-4000-8000-000000000001"
    reports: list[str] = field(factory=list)

    def http(
        self,
        base_url: str,
        *,
        auth: ApiKey | None = None,
        timeout_s: float | None = None,
        ca_file: str | None = None,
        client_cert: str | None = None,
    ) -> HttpClient:
        raise NotImplementedError

    def report(self, what: str, **fields: Json) -> None:
        self.reports.append(what)


def event(seq: int) -> Event:
    return Event(
        f"evt-{seq}",
        type="step_completed",
        time=START + timedelta(seconds=seq),
        partition="run-1",
        raw=b'{"n":%d,"text":"%s"}' % (seq, b"x" * 40),
        kind="step.completed",
        origin=ORIGIN,
        seq=seq,
    )
