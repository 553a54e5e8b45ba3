"""Which addresses may be connected to, for programs that take URLs from their users."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from levada.errors import ConfigError
from levada.http.address import Address

# `ipaddress.is_global` differs between Pythons, and calls some of these global: so here is all of
# them, from IANA's special-purpose registries and multicast. The comment is what an entry would
# let through. What carries an IPv4 address within is denied whatever that address is.
_NOT_PUBLIC = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT, and many clouds' own services
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local: the clouds' metadata
        "168.63.129.16/32",  # public by its number, but within Azure its host
        "172.16.0.0/12",
        "192.0.0.0/24",  # 192.0.0.8, 192.0.0.192: metadata
        "192.0.2.0/24",
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and 255.255.255.255
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64: any IPv4 address
        "64:ff9b:1::/48",  # NAT64 of one's own
        "100::/64",  # discarded
        "100:0:0:1::/64",
        "2001::/23",  # Teredo, benchmarks, ORCHID and the like
        "2001:db8::/32",
        "2002::/16",  # 6to4: any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",
        "5f00::/16",  # segment routing
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",  # site-local, once
        "ff00::/8",  # multicast
    )
)

_GLOBAL_UNICAST = ip_network("2000::/3")
"""The only IPv6 addresses that are given out; all others are denied, listed above or not."""

_WELL_KNOWN = 1024
_WEB = (80, 443)


class NotPublic(OSError):  # noqa: N818  # never leaves levada.http
    """A name leads, by one of its addresses at least, to where nobody may connect."""


def is_public(address: str) -> bool:
    """Return whether *address*, as `getaddrinfo` writes it, is one of the public internet."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        return _is_public_6(found)
    return not any(found in block for block in _NOT_PUBLIC if block.version == found.version)


def _is_public_6(found: IPv6Address) -> bool:
    inner: IPv4Address | None = found.ipv4_mapped
    if inner is not None:
        return is_public(str(inner))
    if found not in _GLOBAL_UNICAST:
        return False
    return not any(found in block for block in _NOT_PUBLIC if block.version == found.version)


def refuse_private(addresses: Sequence[tuple[Any, ...]]) -> None:
    """Refuse a host one of whose *addresses*, as `getaddrinfo` gives them, is not public.

    One is enough: whoever answers for the name would otherwise choose by chance.

    Raises:
        NotPublic: there is one. The text does not tell which: it would draw a map.
    """
    if not all(is_public(where[0]) for *_, where in addresses):
        raise NotPublic("not a public address")


def check(address: Address) -> None:
    """Refuse what can be told from a URL alone, before anything is resolved.

    Raises:
        ConfigError: the URL names an address that is not public, or a port that is not the web's.
    """
    port = address.url.port
    if port is not None and port < _WELL_KNOWN and port not in _WEB:
        raise ConfigError(f"{address.origin} has a port that only other services use; use 443")
    # Of any other name it counts what it is resolved to.
    public = is_public(str(address.ip)) if address.ip is not None else not address.loopback
    if not public:
        raise ConfigError(f"{address.origin} is not on the public internet, so it is not allowed")
