"""Where requests go: a base URL taken apart once, checked, and never shown with its query."""

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import httpx
from attrs import field, frozen

from levada.errors import ConfigError, Gone
from levada.url import check_url, climbs

_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")


@frozen
class Address:
    """A base URL: origin, path and, for a receiver that wants one, a query."""

    origin: str
    """``https://host`` or ``https://host:port``, lower case, without the scheme's own port."""

    url: httpx.URL = field(kw_only=True, repr=False)
    """The origin as httpx wants it."""

    base: str = field(kw_only=True)
    """The path that every request begins with."""

    query: str = field(kw_only=True, repr=False)

    @classmethod
    def parse(cls, base_url: str) -> "Address":
        """Take *base_url* apart.

        Raises:
            ConfigError: no request can be sent to it, or it holds a user name or password.
        """
        check_url(base_url)
        try:
            url = httpx.URL(base_url)
        except (httpx.InvalidURL, ValueError):  # one that is too long
            raise ConfigError("a URL cannot be read; is it as long as it should be?") from None
        path, _, query = url.raw_path.decode("ascii").partition("?")
        return cls(_origin(url), url=url.copy_with(raw_path=b"/"), base=path, query=query)

    @property
    def authority(self) -> str:
        """Host and port for the ``Host`` header."""
        return self.origin.partition("://")[2]

    @property
    def secure(self) -> bool:
        """Whether this is https."""
        return self.url.scheme == "https"

    @property
    def loopback(self) -> bool:
        """Whether requests stay on this machine."""
        if self.ip is not None:
            return self.ip.is_loopback
        return f".{self._host}".endswith(".localhost")

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address that the URL names; None for a name.

        In whatever way: ``127.1`` and ``2130706433`` are 127.0.0.1 to what resolves names, too.
        """
        with suppress(ValueError):
            return ip_address(self._host)
        with suppress(OSError):
            return IPv4Address(socket.inet_aton(self._host))
        return None

    @property
    def _host(self) -> str:
        return self.url.raw_host.decode("ascii").removesuffix(".")

    def path(self, path: str) -> str:
        """Append *path*, percent-encoded by the caller, to the base; with one slash between.

        Raises:
            ValueError: it holds what only an unquoted id would bring in.
            Gone: it climbs with dots, as no id of anything that is there would make it.
        """
        if not _PATH.fullmatch(path):
            raise ValueError("a request path is not percent-encoded")
        if climbs(path):
            raise Gone("an id of '.' or '..' leads to nothing")
        return f"{self.base.rstrip('/')}/{path.removeprefix('/')}" if path else self.base

    def target(self, path: str, params: Mapping[str, Any] | None) -> bytes:
        """Make the request target from a whole path and query parameters; None is left out."""
        query = "&".join(part for part in (self.query, _encode(params)) if part)
        return f"{path}?{query}".encode("ascii") if query else path.encode("ascii")

    def elsewhere(self, path: str, location: str) -> str | None:
        """Return the origin that *location*, sent for *path*, leads to; None if it is ours."""
        try:
            there = _origin(httpx.URL(urljoin(self.origin + path, location)))
        except (httpx.InvalidURL, ValueError):
            return "a place that is no URL"
        return None if there == self.origin else there[:200]


def _origin(url: httpx.URL) -> str:
    host = url.raw_host.decode("ascii", "backslashreplace")
    host = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port is not None else "")


def _encode(params: Mapping[str, Any] | None) -> str:
    if not params:
        return ""
    pairs = [
        (name, _text(one))
        for name, value in params.items()
        for one in (value if isinstance(value, list | tuple) else [value])
        if one is not None
    ]
    return urlencode(pairs, quote_via=quote, safe="")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
