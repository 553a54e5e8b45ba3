"""Which URLs are refused from their text alone, and that the others can be asked."""

import pytest
from attrs import define
from hypothesis import example, given
from hypothesis import strategies as st

from levada import ConfigError, option, valid_url
from levada.config import build
from levada.http.address import Address

MALFORMED = [
    ("api.test", "must begin with https://"),
    ("ftp://api.test", "must begin with https://"),
    ("https://", "name a host"),
    ("https:///x", "name a host"),
    ("http://127.0.0.1:99999", "cannot be read"),
    ("http://x:abc", "cannot be read"),
    ("http://[::1", "cannot be read"),
    ("http://x:0/", "port 0"),
    ("http://cnry:cnry@x/", "user name"),
    ("http://x/#f", "fragment"),
    ("http://a b/", "space"),
    ("http://a/\n", "control character"),
    ("http://a\\b/", "backslash"),
    ("http://xn--/", "no host can have"),
    ("http://a.xn--\u00fc/", "no host can have"),
    ("http://a..b/", "no host can have"),
    ("http://.a/", "no host can have"),
    ("http://a_$(b)/", "no host can have"),
    ("http://[1.2.3.4]/", "cannot be read|no host can have"),
    ("http://[v1.x]/", "cannot be read|no host can have"),
    ("http://1.2.3.999/", "no host can have"),
    (f"http://{'a' * 64}.test/", "no host can have"),
    (f"http://{'a.' * 130}test/", "no host can have"),
    ("http://\u2603.test/", "no host can have"),
    ("http://x/a/%2e%2e/b", "'.' or '..'"),
    ("http://x/a/../b", "'.' or '..'"),
    ("http://x/.%2E", "'.' or '..'"),
]

FINE = [
    "http://localhost",
    "http://127.0.0.1:8080/x",
    "http://127.1/",
    "HTTPS://API.test./v1/",
    "https://[::1]:9/a@b:c",
    "https://b\u00fccher.test/\u00fc",
    "https://xn--bcher-kva.test",
    "https://my_host.test:443/a..b/%20",
]


@define
class Connector:
    base_url: str = option(help="Where.", validator=valid_url())


@define
class Receiver:
    url: str = option(help="Where.", validator=valid_url(query=True))


@pytest.mark.parametrize(("url", "says"), MALFORMED)
def test_a_malformed_url_is_refused_when_a_connector_is_built(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as built:
        build(Connector, {"base_url": url}, path="sources.it")
    with pytest.raises(ConfigError, match=says) as made:
        Connector(base_url=url)

    assert built.value.problems[0].path == "sources.it.base_url"
    assert "cnry" not in f"{built.value} {made.value}"
    with pytest.raises(ConfigError, match=says):
        Address.parse(url)


@pytest.mark.parametrize("url", FINE)
def test_other_urls_are_taken(url: str) -> None:
    assert Connector(base_url=url).base_url == url
    assert Address.parse(url).origin


def test_only_a_receiver_s_url_may_have_a_query() -> None:
    with pytest.raises(ConfigError, match="query"):
        Connector(base_url="http://host?a=b")
    with pytest.raises(ConfigError, match="query"):
        Connector(base_url="http://host/?")

    assert Receiver(url="http://host?a=b").url


@given(st.text() | st.from_regex(r"https?://[^/?]{1,30}(/[^?#]{0,20})?", fullmatch=True))
@example("http://[::1%25eth0]/")
@example("http://xn--a/")
@example("http://\u3002/")
def test_what_is_taken_can_be_asked(url: str) -> None:
    try:
        Connector(base_url=url)
    except ConfigError:
        return

    Address.parse(url)
