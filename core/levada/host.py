"""The host's services to connectors, behind the `Context` they see."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from levada._json import Json
from levada.asking import is_unicode
from levada.connector import Connector, HttpClient
from levada.secret import ApiKey, scrub_json
from levada.setup import Settings
from levada.source import Source

if TYPE_CHECKING:
    from levada.http import Http

log: logging.Logger = logging.getLogger("levada.report")


LOGGED_OF_A_KIND = 5

MOST_OF_A_KIND = 100
"""Findings of one kind that are told apart; further ones are only counted, under no fields."""

MOST_KINDS = 100
"""Kinds that are told apart; further ones are one, `OTHERS`."""

OTHERS = "others"
MOST_CHARS = 200  # of the name of a kind, and of each of its fields


@frozen(cache_hash=True)
class Finding:
    """What a connector reported; equal ones are one finding, made several times."""

    connector: str
    """The connector's name in the pipeline."""

    what: str
    fields: str
    """As a JSON object."""


@define
class Diagnostics:
    """What connectors reported besides events, counted; the first few of a kind are logged."""

    counts: Counter[str] = field(factory=Counter, init=False)
    """How often a connector reported a kind of thing: "kapso: type.unknown"."""

    _fresh: dict[str, Counter[Finding]] = field(factory=dict, init=False)
    """By kind."""

    _seen: set[str] = field(factory=set, init=False)

    def take(self) -> Sequence[tuple[Finding, int]]:
        """Return what was added since the last call, and how often each."""
        taken, self._fresh = self._fresh, {}
        return [each for findings in taken.values() for each in findings.items()]

    def add(self, connector: str, what: str, fields: dict[str, Json]) -> None:
        """Count a report, and log it unless it or enough of its kind were logged before.

        Raises:
            TypeError, ValueError: it is no text, or its fields are no JSON.
        """
        if not isinstance(what, str):
            raise TypeError(f"what is reported must be str, not {type(what).__name__}")
        if not is_unicode(what):
            raise ValueError(f"what is reported must be Unicode text, not {what!r}")
        fields = {name: _shortened(each) for name, each in scrub_json(fields).items()}
        what = what[:MOST_CHARS]
        kind = f"{connector}: {what}"
        if kind not in self.counts and len(self.counts) >= MOST_KINDS:
            what, kind, fields = OTHERS, f"{connector}: {OTHERS}", {}
        findings = self._fresh.setdefault(kind, Counter())
        finding = Finding(connector, what, json.dumps(fields, sort_keys=True))
        if finding not in findings and len(findings) >= MOST_OF_A_KIND:
            finding = Finding(connector, what, json.dumps({}))
        findings[finding] += 1
        text = " ".join([kind, *(f"{key}={value!r}" for key, value in fields.items())])
        self.counts[kind] += 1
        if self.counts[kind] > LOGGED_OF_A_KIND or text in self._seen:
            log.info("%s", text)
            return
        self._seen.add(text)
        log.warning("%s", text)
        if self.counts[kind] == LOGGED_OF_A_KIND:
            log.warning("%s: more of these are only counted", kind)


def _shortened(value: Json) -> Json:
    """Return a field as it is, or the beginning of it where it is long: others may have written it."""
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}…"


@define
class Host:
    """What one run shares among its connectors: HTTP with its budgets, and the diagnostics."""

    settings: Settings = field(factory=Settings)
    patient: bool = field(default=False, kw_only=True)
    """Whether a failing upstream is waited for without end."""

    diagnostics: Diagnostics = field(factory=Diagnostics, init=False)
    contexts: "list[HostContext]" = field(factory=list, init=False)
    """Those of all its connectors."""

    _http: "Http | None" = field(default=None, init=False)

    def context(self, name: str, connector: Connector) -> "HostContext":
        """Return the services for the connector that the pipeline calls *name*."""
        return HostContext(name, connector, self)

    def http(self) -> "Http":
        """Return the run's HTTP, made on first use: a pipeline without it never imports it."""
        if self._http is None:
            from levada.http import Http

            self._http = Http(
                request_timeout=self.settings.request_timeout,
                max_response_bytes=self.settings.max_response_bytes,
                slots=max(16, self.settings.concurrency),
                network=self.settings.network,
                give_up=None if self.patient else self.settings.give_up_after,
            )
        return self._http

    async def close(self) -> None:
        """Close every connection; who asks for one later gets a new one."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()


CALLED: "ContextVar[HostContext]" = ContextVar("called")
"""The connector that a task, or one that it began, is at work for."""


@define(slots=False)
class HostContext:
    """The services to one connector."""

    name: str
    connector: Connector
    host: Host
    clients: list[Any] = field(factory=list, init=False)
    calls: int = field(default=0, init=False)
    """How many of the connector's methods have not returned."""

    threads: set[int] = field(factory=set, init=False)
    """Those at work for it, which go on when the call that waits for them is cancelled."""

    def __attrs_post_init__(self) -> None:
        self.host.contexts.append(self)

    @property
    def title(self) -> str:
        """What the connector is called where sources and sinks are told apart."""
        return f"{'source' if isinstance(self.connector, Source) else 'sink'} '{self.name}'"

    @property
    def busy(self) -> bool:
        """Whether the connector is at work."""
        return self.calls > 0

    def http(
        self,
        base_url: str,
        *,
        auth: ApiKey | None = None,
        timeout_s: float | None = None,
        ca_file: str | None = None,
        client_cert: str | None = None,
    ) -> HttpClient:
        """Return a client for *base_url*, within the source's rate budget if it is a source's.

        Sources with one key share its budget. A sink shares nothing: one whose receiver is busy
        holds no other back.
        """
        source = self.connector if isinstance(self.connector, Source) else None
        client: HttpClient = self.host.http().client(
            base_url,
            auth=auth,
            share=source.rate_share if source else 1.0,
            limit=source.rate_limit if source else None,
            timeout_s=timeout_s,
            ca_file=ca_file,
            client_cert=client_cert,
            owner="" if source else self.name,
        )
        if client not in self.clients:
            self.clients.append(client)
        return client

    def report(self, what: str, **fields: Json) -> None:
        """Pass a report on to the operator."""
        self.host.diagnostics.add(self.name, what, fields)

    @property
    def requests(self) -> int:
        """How many HTTP requests the connector has made."""
        return sum(client.requests for client in self.clients)

    @property
    def requesting(self) -> bool:
        """Whether one is under way; each has a limit of its own."""
        return any(client.under_way for client in self.clients)
