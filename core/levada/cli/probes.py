"""What `levada check` asks: one request of every source, and nothing of a sink that would leave a mark."""

import asyncio
import os
import time
from collections.abc import Awaitable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, evolve, field, frozen

from levada.asking import broken
from levada.backlog import PageBacklog
from levada.batch import Partition
from levada.calls import Calls
from levada.cli import exit_codes
from levada.cli.exit_codes import ExitCode
from levada.connector import Connector, HttpClient, HttpResponse
from levada.errors import Failure, LevadaError, Retry
from levada.host import Host, HostContext
from levada.http.address import Address
from levada.http.connection import in_words
from levada.http.dial import dial
from levada.http.network import check, refuse_private
from levada.secret import ApiKey
from levada.setup import Network, Setup, SinkSetup, SourceSetup
from levada.sink import Sink
from levada.source import Source

PATIENCE = timedelta(seconds=2)
"""How long a failing upstream is tried again."""


@frozen
class Finding:
    """What came of looking at one connector."""

    name: str
    text: str
    code: ExitCode = ExitCode.DONE


def host_of(setup: Setup) -> Host:
    """Return what the sources share that are asked: little patience."""
    patience = min(PATIENCE, setup.settings.give_up_after)
    return Host(evolve(setup.settings, give_up_after=patience))


def limit_of(host: Host) -> timedelta:
    """Return how long a source may take to answer."""
    return host.settings.request_timeout + PATIENCE


async def probe(setup: Setup, host: Host) -> list[Finding]:
    """Look at every connector of *setup*, all at once; nothing is written or delivered."""
    network = setup.settings.network
    sources = [_guarded(each.name, each.source, _source(each, host)) for each in setup.sources]
    sinks = [_guarded(each.name, each.sink, _sink(each, network)) for each in setup.sinks]
    try:
        return await asyncio.gather(*sources, *sinks)
    finally:
        await host.close()


async def _guarded(name: str, connector: Connector, work: Awaitable[str]) -> Finding:
    """Turn what *work* raises into a finding."""
    try:
        return Finding(name, await work)
    except Retry as retry:
        return Finding(name, str(retry), ExitCode.GAVE_UP)
    except Failure as failure:
        return Finding(name, str(failure), ExitCode.UPSTREAM)
    except LevadaError as error:
        return Finding(name, str(error), exit_codes.of_error(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return Finding(name, place + (error.strerror or type(error).__name__), ExitCode.LOCAL_IO)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # it ends nothing but its own check
        blame = broken(connector, f"raised {type(error).__name__}")
        return Finding(name, str(blame), ExitCode.PLUGIN)


async def _source(setup: SourceSetup, host: Host) -> str:
    ctx = _Context(setup.name, setup.source, host)
    calls = Calls(ctx, lambda _: None)  # what gets stuck has a limit here anyway
    limit_s = limit_of(host).total_seconds()
    try:
        await calls.within(limit_s, "open", ctx)
        if setup.source.live:
            return "listens; nothing to ask"
        await _ask(calls, ctx, limit_s)
    finally:
        if not calls.busy:
            await calls.within(limit_s, "close")
    return ctx.answers[-1] if ctx.answers else "readable"


async def _ask(calls: Calls, ctx: "_Context", limit_s: float) -> None:
    """Take the first partition and, if that cost no request, the first batch in it."""
    found = await calls.first(limit_s, "partitions", None, ctx)
    if isinstance(found, Partition) and not ctx.answers:
        await calls.first(limit_s, "read", found, None, ctx)


async def _sink(setup: SinkSetup, network: Network) -> str:
    """Look at what sinks have in common by convention: a `path`, a `url`."""
    path, url = (getattr(setup.sink, name, None) for name in ("path", "url"))
    if isinstance(path, Path):
        return _writable(path)
    if isinstance(url, str):
        return await _reachable(url, setup.sink, network)
    return "nothing to ask"


def _writable(path: Path) -> str:
    place = next((each for each in (path, *path.parents) if each.exists()), path)
    if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0)):
        raise OSError(0, f"{path} cannot be written: no permission for {place}")
    if place != path and not place.is_dir():
        raise OSError(0, f"{path} cannot be made: {place} is no folder")
    return f"{path} can be {'written' if place == path else 'made'}"


async def _reachable(url: str, sink: Sink, network: Network) -> str:
    """Connect as the sink would, without a word."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    place = f"{host} port {port}"
    inspect = refuse_private if network == "public-only" else None
    if inspect and parts.scheme in {"http", "https"}:
        check(Address.parse(url))
    try:
        async with asyncio.timeout(5):
            connected = await dial(host, port, inspect)
    except (OSError, UnicodeError) as error:
        raise Retry(f"{place} cannot be reached: {_why(error)}") from None
    connected.close()
    return f"{place} accepts connections; nothing was sent to {sink.name}"


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not error.errno:
        return "no answer in 5 s"
    return in_words(error)


class _Context(HostContext):
    """The services to a source of which nothing was read before."""

    open_partitions: Mapping[str, Partition] = {}
    hints = frozenset[str]()

    def __init__(self, name: str, source: Source, host: Host) -> None:
        super().__init__(name, source, host)
        self.answers: list[str] = []

    def http(
        self,
        base_url: str,
        *,
        auth: ApiKey | None = None,
        timeout_s: float | None = None,
        ca_file: str | None = None,
        client_cert: str | None = None,
    ) -> HttpClient:
        """Return a client that notes what it is answered."""
        client = super().http(
            base_url, auth=auth, timeout_s=timeout_s, ca_file=ca_file, client_cert=client_cert
        )
        return _Noting(client, self.answers)

    async def known(self, _partition: str, _ids: Iterable[str]) -> set[str]:
        """Return nothing."""
        return set()

    def count(self, _partition: str) -> int:
        """Return none."""
        return 0

    def backlog(self) -> PageBacklog:
        """Return an empty backlog."""
        return PageBacklog()


@define
class _Noting:
    """An HTTP client that notes each answer: ``GET https://… 200 in 142 ms``."""

    client: HttpClient
    answers: list[str] = field(factory=list)

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> HttpResponse:
        began = time.monotonic()
        return self._noted(await self.client.get(path, params), began)

    async def post(
        self, path: str, content: bytes, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        began = time.monotonic()
        return self._noted(await self.client.post(path, content, headers), began)

    def now(self) -> Any:
        return self.client.now()

    def _noted(self, response: HttpResponse, began: float) -> HttpResponse:
        took_ms = (time.monotonic() - began) * 1000
        self.answers.append(f"{response.place} {response.status} in {took_ms:.0f} ms")
        return response
