"""The webhook sink: one event, or a batch, per POST."""

import asyncio
import time
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from attrs import Attribute, define, field, validators

from levada import (
    ConfigError,
    Delivery,
    HttpClient,
    HttpResponse,
    Json,
    Retry,
    Secret,
    Sink,
    SinkContext,
    option,
    valid_headers,
    valid_url,
)
from levada_webhook.schedule import Schedule
from levada_webhook.signature import PREFIX, key_of, signed
from levada_webhook.verdict import Judge

# Standard Webhooks' example of a schedule: from seconds to days.
SCHEDULE = [
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
]
_UNAUTHORIZED = (401, 403)
_WORD = 7  # characters of a header's value that may well be no secret
_OURS = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "content-length")


def _are_free(instance: Any, attribute: "Attribute[dict[str, str]]", value: dict[str, str]) -> None:
    taken = [name for name in value if name.lower() in _OURS]
    if taken:
        raise ValueError(f"must not hold {taken[0]}, which every delivery has of its own")
    valid_headers(instance, attribute, value)


@define
class WebhookSink(Sink):
    """POSTs events as CloudEvents, signed by Standard Webhooks.

    A delivery has the same ``webhook-id`` and the same body at every attempt, over restarts and
    even loss of the state: the receiver can tell a repetition. Per execution one request is
    under way at a time.
    """

    name: ClassVar[str] = "webhook"
    guarantee: ClassVar[str] = "at least once, with a stable webhook-id"

    url: str = option(help="Where to POST to.", shown=False, validator=valid_url(query=True))
    secret: Secret | list[Secret] | None = option(
        default=None,
        help="Signing secret (whsec_…); while rotating a list, the new one first. None: unsigned.",
    )
    batch: bool = option(default=False, help="Send several events in one request, as a JSON array.")
    batch_size: int = option(
        default=100,
        help="With `batch`: most events in one request.",
        validator=validators.ge(1),
    )
    lanes: int = option(
        default=8, help="Most requests under way at once.", validator=validators.ge(1)
    )
    timeout: timedelta = option(
        default=timedelta(seconds=20),
        help="The whole of one request, from name resolution to the answer's last byte.",
        validator=validators.gt(timedelta(0)),
    )
    schedule: list[timedelta] = option(
        default=SCHEDULE,
        help="The wait before each attempt; after the last one the event becomes a dead letter.",
        validator=validators.min_len(1),
    )
    headers: dict[str, str] = option(
        shown=False, default={}, help="Headers to send with every request.", validator=_are_free
    )
    ca_file: Path | None = option(
        default=None, help="Certificates to trust instead of the system's (PEM)."
    )
    client_cert: Path | None = option(
        default=None, help="Our own certificate and its key in one file (PEM)."
    )
    allow_plaintext: bool = option(
        default=False, help="Allow http:// to another machine although there is a secret."
    )

    _client: HttpClient | None = field(default=None, init=False, repr=False, eq=False)
    _judge: Judge = field(init=False, repr=False, eq=False)
    _keys: list[bytes] = field(factory=list, init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if not self.batch:
            self.batch_size = 1
        secure = urlsplit(self.url).scheme == "https" or _is_loopback(self.url)
        if not (secure or self.allow_plaintext) and (self.secret or self.headers):
            raise ConfigError(
                "`url` must be https:// where there is a secret or a header, as http:// lets "
                "everybody on the way read along; `allow_plaintext = true` puts up with that"
            )
        self._judge = Judge(Schedule(self.schedule), self._unshown())

    def identity(self) -> str:
        """Return the URL without its query."""
        return self.url.partition("?")[0]

    async def open(self, ctx: SinkContext) -> None:
        """Check the secrets and make the client; nothing is sent.

        Raises:
            Fatal: a secret is no signing secret.
            ConfigError: one of the certificate files cannot be used.
        """
        self._keys = [key_of(secret) for secret in self._secrets]
        if not self._keys:
            ctx.report("webhook.unsigned", url=self.identity())
        self._client = ctx.http(
            self.url,
            timeout_s=self.timeout.total_seconds(),
            ca_file=str(self.ca_file) if self.ca_file else None,
            client_cert=str(self.client_cert) if self.client_cert else None,
        )

    async def write(self, delivery: Delivery, ctx: SinkContext) -> Json:  # noqa: ARG002
        """POST a delivery once.

        Raises:
            Retry: later: by the schedule, or when the receiver said.
            Reject: it was tried often enough.
            TooLarge: the receiver takes smaller ones.
            Disable: the receiver answered 410.
        """
        client = self._client
        if client is None:
            raise RuntimeError("open() comes first")
        try:
            answer = await self._post(client, delivery)
        except Retry as failure:
            raise self._judge.lost(failure, delivery) from None
        if answer.status in _UNAUTHORIZED and await self._has_new_keys():
            raise Retry("the signing secret was changed; trying the new one")
        verdict = self._judge.answered(answer, delivery, client.now())
        if verdict is not None:
            raise verdict

    async def _post(self, client: HttpClient, delivery: Delivery) -> HttpResponse:
        body = self._body(delivery)
        headers = {
            **self.headers,
            **signed(self._keys, delivery.id, int(time.time()), body),
            "content-type": self._content_type(delivery),
        }
        return await client.post("", body, headers)

    def _body(self, delivery: Delivery) -> bytes:
        if self.batch:
            return b"[" + b",".join(delivery.lines) + b"]"
        (line,) = delivery.lines
        return line

    def _content_type(self, delivery: Delivery) -> str:
        if delivery.format == "raw":
            return "application/json"
        return f"application/cloudevents{'-batch' if self.batch else ''}+json"

    async def _has_new_keys(self) -> bool:
        """Read the secrets again where they came from; tell whether one has changed."""
        # Reading one may mean running a command.
        changed = [await asyncio.to_thread(secret.reload) for secret in self._secrets]
        if any(changed):
            self._keys = [key_of(secret) for secret in self._secrets]
            self._judge.secrets = self._unshown()
        return any(changed)

    @property
    def _secrets(self) -> list[Secret]:
        if isinstance(self.secret, list):
            return self.secret
        return [] if self.secret is None else [self.secret]

    def _unshown(self) -> list[Secret]:
        bare = [Secret(secret.reveal().removeprefix(PREFIX)) for secret in self._secrets]
        values = [part for value in self.headers.values() for part in (value, *value.split())]
        return [*self._secrets, *bare, *(Secret(each) for each in values if len(each) > _WORD)]


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
