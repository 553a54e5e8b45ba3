"""Making clients: the same one for the same arguments, and what is refused."""

import asyncio
import logging
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core.test_http_server import CANARY, answer, leaks, serve
from levada import ApiKey, ConfigError, Retry, Secret
from levada.http import Http

KEY = ApiKey("X-API-Key", Secret(CANARY))


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    owner = Http(
        request_timeout=timedelta(seconds=5), max_response_bytes=1000, give_up=timedelta(0)
    )
    yield owner
    await owner.aclose()


async def test_equal_arguments_give_the_same_client(http: Http) -> None:
    client = http.client("https://api.test", auth=KEY)

    assert http.client("https://api.test", auth=ApiKey("X-API-Key", KEY.secret)) is client
    assert http.client("https://api.test") is not client
    assert http.client("https://api.test", auth=KEY, timeout_s=1) is not client


async def test_a_client_may_have_a_deadline_of_its_own(http: Http) -> None:
    assert http.client("https://api.test", timeout_s=0.5).limits.deadline_s == 0.5


async def test_a_client_shows_no_key_and_no_query(http: Http) -> None:
    client = http.client("https://api.test/v1?token=secret-query", auth=KEY)

    assert not leaks(repr(client))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("api.test", "https://"),
        ("ftp://api.test", "https://"),
        ("https://", "name a host"),
        ("https://api.test:port", "cannot be read"),
        ("https://[", "cannot be read"),
        ("https://cnry:cnry@api.test", "user name"),
        ("https://@api.test", "user name"),
        ("http://a@127.0.0.1:80@evil.test/", "user name"),
        ("http://127.0.0.1\\@evil.test/", "backslash"),
        ("https://api.test/ x", "space"),
        ("https://api.test/\n", "control character"),
        ("https://api.test/#x", "fragment"),
    ],
)
async def test_a_url_that_could_mislead_is_refused(http: Http, url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        http.client(url)

    assert not leaks(str(caught.value))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"share": 0}, "rate_share"),
        ({"share": 1.5}, "rate_share"),
        ({"limit": 0}, "rate_limit"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file /nowhere/ca.pem .*no such file"),
        ({"client_cert": "/nowhere/me.pem"}, "client_cert /nowhere/me.pem .*no such file"),
        ({"ca_file": __file__}, "holds no PEM certificate"),
        ({"client_cert": __file__}, "holds no PEM certificate"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_an_option_that_cannot_be_used_is_refused(
    http: Http, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?i){says}"):
        http.client("https://api.test", **options)


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://10.0.0.5:8080", True),
        ("http://api.test", True),
        ("https://api.test", False),
        ("http://127.0.0.1:9", False),
        ("http://[::1]:9", False),
        ("http://localhost:9", False),
    ],
)
async def test_a_key_sent_in_clear_is_warned_about_once(
    http: Http, caplog: pytest.LogCaptureFixture, url: str, warns: bool
) -> None:
    caplog.set_level(logging.WARNING, "levada.http")

    for _ in range(2):
        http.client(url, auth=KEY)

    assert ("travels unencrypted" in caplog.text) is warns
    assert len(caplog.records) == warns
    assert not leaks(caplog.text)


@pytest.mark.parametrize(
    ("url", "key", "warned"),
    [
        ("https://api.test", "seven77", True),
        ("https://api.test", "eight888", False),
        ("https://api.test", "", False),
        ("http://127.0.0.1:1", "seven77", False),
    ],
)
async def test_a_key_too_short_to_be_kept_out_of_a_log_is_warned_about(
    http: Http, caplog: pytest.LogCaptureFixture, url: str, key: str, warned: bool
) -> None:
    http.client(url, auth=ApiKey("X-API-Key", Secret(key, origin="environment variable KEY")))

    says = "the key from environment variable KEY has fewer than 8 characters"
    assert (says in caplog.text) is warned
    assert not key or key not in caplog.text


async def test_plain_http_makes_no_tls_context(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**_: object) -> ssl.SSLContext:
        raise AssertionError

    monkeypatch.setattr(ssl, "create_default_context", never)

    async with serve() as server:
        got = await http.client(server.url).get("/")
        await http.aclose()

    assert got.status == 200


# TLS, with certificates made on the spot


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    folder = tmp_path_factory.mktemp("pems")

    def make(name: str) -> str:
        file = folder / f"{name}.pem"
        if not file.exists():
            _self_signed(file, name)
        return str(file)

    return make


def _self_signed(file: Path, name: str) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                f"/CN={name}",
                "-addext",
                f"subjectAltName=IP:{name}",
            ),
            *("-keyout", f"{file}.key", "-out", f"{file}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    file.write_bytes(Path(f"{file}.key").read_bytes() + Path(f"{file}.crt").read_bytes())


def _server(pem: str, *, trusts: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    if trusts:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(trusts)
    return context


Pems = Callable[[str], str]


async def test_a_certificate_of_ca_file_is_trusted(http: Http, pems: Pems) -> None:
    pem = pems("127.0.0.1")

    async with serve(answer(200, b"private"), tls=_server(pem)) as server:
        client = http.client(server.url, ca_file=pem)
        got = [await client.get("/"), await client.post("/", b"x")]
        await http.aclose()

    assert [each.body for each in got] == [b"private", b"private"]
    assert server.connections == 1


@pytest.mark.parametrize(
    ("host", "ca", "says"),
    [
        (
            "127.0.0.1",
            None,
            "certificate not trusted: self-signed certificate; .*trust its authority",
        ),
        (
            "127.0.0.2",
            "127.0.0.2",
            "certificate not trusted: IP address mismatch.*; correct the URL",
        ),
    ],
    ids=["unknown issuer", "another host"],
)
async def test_a_certificate_that_proves_nothing_is_not_trusted(
    http: Http, pems: Pems, host: str, ca: str | None, says: str
) -> None:
    async with serve(tls=_server(pems(host))) as server:
        client = http.client(server.url, auth=KEY, ca_file=pems(ca) if ca else None)
        with pytest.raises(Retry, match=says):
            await client.get("/")

    assert server.requests == []


async def test_a_client_certificate_is_shown_to_who_asks(http: Http, pems: Pems) -> None:
    pem, mine = pems("127.0.0.1"), pems("127.0.0.9")

    async with serve(tls=_server(pem, trusts=mine)) as server:
        got = await http.client(server.url, ca_file=pem, client_cert=mine).get("/")
        with pytest.raises(Retry, match=r"TLS failed: .*certificate required|closed before"):
            await http.client(server.url, ca_file=pem).get("/")
        await http.aclose()

    assert got.status == 200


@pytest.fixture
def locked(pems: Pems, tmp_path: Path) -> str:
    pem = pems("127.0.0.1")
    command = ["openssl", "ec", "-aes256", "-passout", "pass:cnry", "-in", pem]
    key = subprocess.run(command, check=True, capture_output=True).stdout
    file = tmp_path / "locked.pem"
    file.write_bytes(key + Path(f"{pem}.crt").read_bytes())
    return str(file)


async def test_a_locked_client_key_is_refused_without_asking(http: Http, locked: str) -> None:
    with pytest.raises(ConfigError, match="encrypted"):
        http.client("https://api.test", client_cert=locked)


async def test_https_to_a_plain_port_says_what_is_wrong(http: Http) -> None:
    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]

    with pytest.raises(Retry, match="TLS failed: wrong version number"):
        await http.client(f"https://127.0.0.1:{port}").get("/")
    listener.close()
