"""What `public-only` lets through: by address, by URL, and on a real socket."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.test_http_server import serve
from levada import ApiKey, ConfigError, Retry, Secret, Settings
from levada.host import Host
from levada.http import Http
from levada.http.address import Address
from levada.http.dial import dial
from levada.http.network import NotPublic, check, is_public, refuse_private

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "11.0.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82f::200e",
    "2003::1",
    "::ffff:8.8.8.8",
]

NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104  # an address to refuse
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_private_local_and_special_addresses_are_not(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_what_it_maps(address: Any) -> None:
    assert is_public(f"::ffff:{address}") == is_public(str(address))


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(address: Any) -> None:
    assert not (is_public(str(address)) and not address.is_global)


SPELLINGS = [
    "127.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "①②⑦.⓪.⓪.①",
    "localhost",
    "127.0.0.1",
]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_only_what_a_name_resolves_to_counts(host: str) -> None:
    async with serve() as server:
        with pytest.raises(NotPublic):
            await dial(host, server.port, refuse_private)

        assert server.connections == 0


async def test_an_address_that_was_inspected_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    shown: list[str] = []
    ask = socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **options: Any) -> Any:
        """Answer differently each time, as a name server that means harm does."""
        asked.append(host)
        return ask("127.0.0.1" if len(asked) == 1 else "127.0.0.9", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with serve() as server:
        connected = await dial(
            "rebinding.test",
            server.port,
            lambda found: shown.extend(where[0] for *_, where in found),
        )
        peer = connected.getpeername()[0]
        connected.close()

    assert asked == ["rebinding.test"]
    assert shown == [peer] == ["127.0.0.1"]


Answers = list[list[str]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Return what a name server says one time after the other; the last time for ever."""
    answers: Answers = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, port, 0, 0))
            if ":" in each
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port))
            for each in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the addresses that sockets are asked to connect to; none of them answers."""
    addresses: list[str] = []

    async def sock_connect(_: Any, __: socket.socket, where: tuple[Any, ...]) -> None:
        addresses.append(where[0])
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", sock_connect)
    return addresses


async def test_a_name_that_changes_its_mind_is_judged_anew_each_time(
    public_only: Http, names: Answers, dialled: list[str]
) -> None:
    names += [["93.184.215.14"], ["169.254.169.254"]]
    client = public_only.client("https://rebinding.test")

    with pytest.raises(Retry, match="connection refused"):
        await client.post("/", b"")
    with pytest.raises(Retry, match="leads to an address that is not public"):
        await client.post("/", b"")

    assert dialled == ["93.184.215.14"]


@pytest.mark.parametrize(
    "private", ["10.0.0.1", "::1", "::ffff:192.168.0.1", "64:ff9b::a00:1", "2002:a00:1::"]
)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_no_address_is_dialled_if_one_of_them_is_private(
    public_only: Http, names: Answers, dialled: list[str], private: str, place: int
) -> None:
    found = ["93.184.215.14", "2606:4700:4700::1111"]
    names.append([*found[:place], private, *found[place:]])

    with pytest.raises(Retry, match="leads to an address that is not public"):
        await public_only.client("https://several.test").post("/", b"")

    assert dialled == []


async def test_every_public_address_of_a_name_is_tried(
    public_only: Http, names: Answers, dialled: list[str]
) -> None:
    names.append(["2606:4700:4700::1111", "93.184.215.14"])

    with pytest.raises(Retry, match="connection refused"):
        await public_only.client("https://several.test").post("/", b"")

    assert dialled == ["2606:4700:4700::1111", "93.184.215.14"]


@pytest.mark.parametrize("host", [*SPELLINGS, "127.0.0.1.", "localhost.", "0x7f.1", "017700000001"])
async def test_no_spelling_of_a_host_leads_home(public_only: Http, host: str) -> None:
    async with serve() as server:
        with pytest.raises((ConfigError, Retry)) as caught:
            await public_only.client(f"http://{host}:{server.port}").post("/", b"")

        assert server.connections == 0
    assert (
        not isinstance(caught.value, Retry)
        or "name not found" in str(caught.value)
        or ("not public" in str(caught.value))
    )


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("network", ["any", "public-only"])
async def test_a_proxy_of_the_environment_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, network: Any
) -> None:
    http = Http(
        request_timeout=timedelta(seconds=5),
        max_response_bytes=1000,
        give_up=timedelta(0),
        network=network,
    )
    async with serve() as proxy:
        monkeypatch.setenv(name, proxy.url)
        with pytest.raises(Retry, match="name not found"):
            await http.client("http://nowhere.invalid").post("/", b"")
        await http.aclose()

    assert proxy.connections == 0


@pytest.mark.parametrize("private", [0, 1], ids=["first", "last"])
def test_one_private_address_among_public_ones_is_enough(private: int) -> None:
    addresses = [(2, 1, 6, "", ("93.184.215.14", 443)) for _ in range(2)]
    addresses[private] = (10, 1, 6, "", ("::1", 443, 0, 0))  # type: ignore[assignment]  # as v6 has it

    with pytest.raises(NotPublic) as caught:
        refuse_private(addresses)

    assert "::1" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://example.com",
        "https://example.com:443/x",
        "https://example.com:8443/x",
        "http://1.1.1.1",
        "https://[2606:4700:4700::1111]",
    ],
)
def test_a_url_that_may_be_public_is_let_through(url: str) -> None:
    check(Address.parse(url))


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_url_that_names_a_private_address_is_refused_at_once(address: str) -> None:
    host = f"[{address.replace('%', '%25')}]" if ":" in address else address

    with pytest.raises(ConfigError, match="not on the public internet"):
        check(Address.parse(f"https://{host}/"))


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0", "10", "127.0.0.1."]
)
def test_an_address_in_an_odd_spelling_is_refused_as_what_it_means(host: str) -> None:
    with pytest.raises(ConfigError, match="not on the public internet"):
        check(Address.parse(f"https://{host}/"))


@pytest.mark.parametrize("host", ["1.1", "0x01010101", "16843009", "1e100.test", "0xfeed.test"])
def test_an_odd_spelling_of_a_public_address_is_let_through(host: str) -> None:
    check(Address.parse(f"https://{host}/"))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "app.localhost", "localhost.", "app.localhost."]
)
def test_a_url_of_this_machine_is_refused_at_once(host: str) -> None:
    with pytest.raises(ConfigError, match="not on the public internet"):
        check(Address.parse(f"https://{host}/"))


@pytest.mark.parametrize("port", [22, 25, 53, 389, 445, 1023])
def test_a_port_of_another_service_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match="a port that only other services use"):
        check(Address.parse(f"https://example.com:{port}/"))


@pytest.fixture
async def public_only() -> AsyncIterator[Http]:
    http = Http(
        request_timeout=timedelta(seconds=5),
        max_response_bytes=1000,
        give_up=timedelta(0),
        network="public-only",
    )
    yield http
    await http.aclose()


@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_name_that_leads_home_is_refused_before_anything_is_sent(
    public_only: Http, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    ask = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *args, **kw: ask("127.0.0.1", *args, **kw)
    )
    async with serve() as server:
        client = public_only.client(
            f"http://hooks.test:{server.port}", auth=ApiKey("X-API-Key", Secret("cnry-network"))
        )
        with pytest.raises(Retry, match="leads to an address that is not public") as caught:
            await (client.get("/x") if method == "get" else client.post("/x", b"{}"))

        assert server.connections == 0
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_a_url_that_leads_home_makes_no_client(public_only: Http, host: str) -> None:
    with pytest.raises(ConfigError, match="not on the public internet"):
        public_only.client(f"http://{host}:8080")


@pytest.mark.parametrize("network", ["any", "public-only"])
async def test_the_setting_reaches_every_connector(network: Any) -> None:
    host = Host(Settings(network=network))
    try:
        if network == "any":
            host.http().client("http://127.0.0.1:1")
        else:
            with pytest.raises(ConfigError):
                host.http().client("http://127.0.0.1:1")
    finally:
        await host.close()


def test_a_network_that_nobody_knows_is_not_taken_for_any() -> None:
    with pytest.raises(ConfigError, match="`network` must be one of any, public-only"):
        Settings(network="public_only")  # type: ignore[arg-type]  # a slip of the pen
