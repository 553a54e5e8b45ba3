"""Requests, written as cheaply as httpx allows: what stays the same is made once."""

from collections.abc import Mapping
from typing import Any

import httpx
from attrs import field, frozen

from levada.errors import ConfigError, Fatal
from levada.header import check_header
from levada.http.address import Address
from levada.secret import ApiKey, scrub

USER_AGENT = "levada"


@frozen
class Outgoing:
    """A request, where it goes, and the key it carries."""

    request: httpx.Request = field(repr=False)
    path: str = field(kw_only=True)
    place: str = field(kw_only=True)
    key: str = field(kw_only=True, repr=False)


class Writer:
    """Writes the requests of one client, with the credential as it is at that moment."""

    def __init__(self, address: Address, auth: ApiKey | None) -> None:
        self._address = address
        self._auth = auth
        self._secrets = [auth.secret] if auth else []
        self._key: str | None = None
        self._headers = httpx.Headers()

    def get(self, path: str, params: Mapping[str, Any] | None) -> Outgoing:
        """Write a GET."""
        return self._write("GET", path, params, self._common(), b"")

    def post(self, path: str, content: bytes, extra: Mapping[str, str]) -> Outgoing:
        """Write a POST; *extra* headers replace ours of the same name.

        Raises:
            Fatal: one of them has a name or a value that cannot be sent.
        """
        headers = self._common().copy()
        headers["Accept-Encoding"] = "identity"
        for name, value in extra.items():
            self._check(name, value)
            headers[name] = value
        headers["Content-Length"] = str(len(content))
        return self._write("POST", path, None, headers, content)

    def _write(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        headers: httpx.Headers,
        content: bytes,
    ) -> Outgoing:
        whole = self._address.path(path)
        request = httpx.Request(
            method,
            self._address.url,
            headers=headers,
            stream=httpx.ByteStream(content),
            extensions={"target": self._address.target(whole, params)},
        )
        place = scrub(f"{method} {self._address.origin}{whole}", self._secrets)
        return Outgoing(request, path=whole, place=place, key=self._key or "")

    def _common(self) -> httpx.Headers:
        key = self._auth.secret.reveal() if self._auth else ""
        if key != self._key:  # at first, and when the key was rotated
            self._headers = self._make(key)
            self._key = key
        return self._headers

    def _make(self, key: str) -> httpx.Headers:
        headers = httpx.Headers(
            {
                "Host": self._address.authority,
                "Accept": "*/*",
                "Accept-Encoding": "gzip",
                "User-Agent": USER_AGENT,
            }
        )
        if self._auth:
            self._check(self._auth.header, key, source=f" (from {self._auth.secret.origin})")
            headers[self._auth.header] = key
        return headers

    def _check(self, name: str, value: str, *, source: str = "") -> None:
        try:
            check_header(name, value, source=source)
        except ConfigError as error:  # that of a key which was rotated, or of a plugin's own
            raise Fatal(f"{self._address.origin}: {error}") from None
