"""What sources and sinks share: options, a life cycle, and the host's services."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Protocol, TypeVar

import attrs
from attrs import NOTHING, define

from levada._json import Json
from levada.secret import ApiKey, Secret

T = TypeVar("T")


def option(
    *,
    help: str,  # noqa: A002  # the field's own word for it
    default: Any = NOTHING,
    env: str | None = None,
    shown: bool = True,
    validator: Any = None,
) -> Any:
    """Declare one option of a connector; keyword-only, as every option is.

    Args:
        help: One sentence for `levada describe`, the docs and the JSON Schema.
        default: Left out: the option is required. A list or dict is copied for each connector.
        env: For a `Secret`: the environment variable it is taken from when the pipeline file
            says nothing.
        shown: Whether the value may be in the connector's repr.
        validator: As for `attrs.field`; its message must not hold the value.
    """
    factory = isinstance(default, list | dict)
    return attrs.field(
        default=attrs.Factory(default.copy) if factory else default,
        validator=validator,
        kw_only=True,
        repr=shown,
        metadata={"help": help, "env": env},
    )


class HttpResponse(Protocol):
    """An answer that arrived whole."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names in any case."""

    @property
    def body(self) -> bytes:
        """The body after decompression, never longer than `max_response_bytes`."""

    @property
    def place(self) -> str:
        """Method and URL without its query, fit for an error message."""


class HttpClient(Protocol):
    """One credential at one origin.

    Every exchange (name resolution to last byte) has one total deadline. A redirect is never
    followed, and no header of ours reaches another origin.
    """

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> HttpResponse:
        """Fetch ``base_url`` + *path*; None values in *params* are left out.

        Lost connections, timeouts and 408, 425, 429 and 5xx are tried again, with jitter and
        Retry-After, for as long as the host allows. A 401 is tried once more if the key has
        changed where it came from. Every other status is returned.

        Raises:
            Retry: it kept failing.
            TooLarge: the body is longer than `max_response_bytes`.
            Fatal: the answer cannot be taken at all: a redirect elsewhere, an unknown coding.
        """

    async def post(
        self, path: str, content: bytes, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        """Send *content* once; never repeated here, whatever happens. Every status is returned.

        Raises:
            Retry: no answer arrived.
        """

    def now(self) -> datetime:
        """Tell the time by the vendor's clock, from the ``Date`` of its latest answer."""


class Context(Protocol):
    """The host's services to one connector."""

    @property
    def name(self) -> str:
        """The connector's name in the pipeline: the key of its table."""

    def http(
        self,
        base_url: str,
        *,
        auth: ApiKey | None = None,
        timeout_s: float | None = None,
        ca_file: str | None = None,
        client_cert: str | None = None,
    ) -> HttpClient:
        """Return a client for *base_url*; the same one for the same arguments.

        `timeout_s` replaces the pipeline's `request_timeout`. The host closes what it made.
        """

    def report(self, what: str, **fields: Json) -> None:
        """Tell the operator about something that is not an event: a gap, an unknown type.

        *what* is a short name with dots (``type.unknown``); *fields* say the rest, without
        secrets or payloads. Equal reports are counted, not repeated.
        """


API_VERSION: Final = 1
"""Of what plugins build on: the classes and hooks of this package."""


@define(slots=False, kw_only=True)
class Connector:
    """Base of `Source` and `Sink`.

    A connector is an attrs class whose init fields are its options; what it holds while it runs
    belongs in ``field(init=False)`` and is set in `open`.
    """

    name: ClassVar[str]
    """The connector's name: equal to its entry point's."""

    api_version: ClassVar[int] = API_VERSION
    """The version of the plugin API that the connector is written for, which a plugin may pin: a
    Levada that has another one refuses it, with exit code 3, instead of running into it."""

    patience: ClassVar[timedelta | None] = timedelta(minutes=5)
    """How long a call may show no sign of life: it does not return or yield, and no request of
    the connector is under way. Then it is cancelled, and tried again like one that raised Retry.
    None: it may wait for ever, as for a person."""

    def identity(self) -> str:
        """Return what makes this the same source or destination on the next run.

        A path, a URL without query. When it differs from the stored one the run is refused.
        "" where nothing could be mixed up.
        """
        return ""

    async def close(self) -> None:
        """Let go of what `open` took. Called once, after the last read or write; not after a crash."""


def secrets_of(connector: Connector) -> list[Secret]:
    """Return every `Secret` among the connector's options."""
    values = [getattr(connector, each.name, None) for each in attrs.fields(type(connector))]
    flat = [
        one for value in values for one in (value if isinstance(value, list | tuple) else [value])
    ]
    return [value for value in flat if isinstance(value, Secret)]
