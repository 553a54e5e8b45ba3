"""Which URLs requests can be sent to, as far as their text tells: without httpx, which is slow to import."""

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from attrs import frozen

from levada.errors import ConfigError

if TYPE_CHECKING:
    from attrs import Attribute

_SLASH = "/|%2f|%5c"  # servers differ in when they decode
_DOTS = re.compile(rf"(?:^|{_SLASH})(?:\.|%2e){{1,2}}(?={_SLASH}|$)", re.IGNORECASE)

_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_IPV4 = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_LONGEST_NAME = 253
_PUNYCODE = "xn--"


@frozen
class ValidUrl:
    """A validator: raises `ConfigError` for a URL that no request can be sent to."""

    query: bool

    def __call__(self, _instance: Any, _attribute: "Attribute[str]", value: str) -> None:
        """Check *value*, as `attrs.field` has it."""
        check_url(value)
        if "?" in value and not self.query:
            raise ConfigError("a base URL has a query (?…); take it out")


def valid_url(*, query: bool = False) -> Callable[[Any, Any, str], None]:
    """Return a validator for an `option` that is an http or https URL.

    It refuses, before anything is read, what `Context.http` would refuse: a host, port or path
    that no request can have, a user name or password, a fragment. Its messages hold nothing of
    the URL.

    Args:
        query: Whether it may have a query: one that requests go to as it is, not a base URL.
    """
    return ValidUrl(query)


def check_url(url: str) -> None:
    """Check that a request can be sent to *url*, and that nobody can read it in two ways.

    Raises:
        ConfigError: without any part of *url*, which may hold a password.
    """
    # Parsers disagree about these, so nobody may rely on any of them.
    if "\\" in url or not url.isprintable() or " " in url:
        raise ConfigError("a URL holds a backslash, a space or a control character")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("a URL cannot be read; it looks like https://api.example.com") from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigError("a URL must begin with https:// or http://")
    if "@" in parts.netloc:
        raise ConfigError("a URL holds a user name or password; take it out")
    if not host:
        raise ConfigError("a URL must name a host, as in https://api.example.com")
    if not _is_host(host, parts):
        raise ConfigError("a URL has a name or an address that no host can have; correct it")
    if port == 0:
        raise ConfigError("a URL has port 0, where nobody can answer; correct it")
    if "#" in url:
        raise ConfigError("a URL ends in a fragment (#…); remove it")
    if climbs(parts.path):
        raise ConfigError("a URL has '.' or '..' between slashes; write the path that it leads to")


def climbs(path: str) -> bool:
    """Return whether *path* has a segment of one or two dots, percent-encoded or not."""
    return _DOTS.search(path) is not None


def _is_host(host: str, parts: SplitResult) -> bool:
    try:
        if "[" in parts.netloc:
            return bool(IPv6Address(host))
        return bool(IPv4Address(host)) if _IPV4.fullmatch(host) else _is_name(host)
    except AddressValueError:
        return False


def _is_name(host: str) -> bool:
    name = (host if host.isascii() else _ascii(host)).removesuffix(".")
    return len(name) <= _LONGEST_NAME and all(map(_is_label, name.split(".")))


def _is_label(label: str) -> bool:
    return bool(_LABEL.fullmatch(label)) and (not label.startswith(_PUNYCODE) or _decodes(label))


def _decodes(label: str) -> bool:
    try:
        return bool(label.removeprefix(_PUNYCODE).encode("ascii").decode("punycode"))
    except UnicodeError:
        return False


def _ascii(host: str) -> str:
    """Return *host* as the name servers know it; "" where they cannot."""
    import idna

    try:
        return idna.encode(host).decode("ascii")  # as httpx does it
    except idna.IDNAError:
        return ""
