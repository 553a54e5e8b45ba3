"""Whatever comes in, only the documented errors come out, and they show neither secret nor payload.

Each property has a short round in every run, and a long one: ``pytest -m nightly tests/fuzz``.
"""

import json
import math
import tomllib
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

import msgspec
import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from core.doubles import START
from levada import ConfigError, Event, Gone, PluginError, Retry, Secret
from levada.cli.text import safe
from levada.codec import cloudevent, mended, one_line
from levada.config import load
from levada.http.address import Address
from levada.page import Id, Moment, decode_page, parse_time, refusal, to_events
from levada.plugins import Registry
from levada.retry import LONGEST_RETRY_AFTER, retry_after
from levada.secret import REDACTED, scrub_known
from levada_webhook.schedule import retry_after as webhook_retry_after

SECRET = (
    "key-of-somebody/0+1=2"  # no hexadecimal digit first: an escape before it could complete it
)
PERSON = "cnry-user"
PAYLOAD = "cnry-payload-of-somebody"
LONE = {*map(chr, range(0xD800, 0xE000))}
DANGEROUS = {
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    *LONE,
}

ANYTHING = st.text(st.characters())  # lone surrogates as well
BAD = st.text(
    st.sampled_from("\x1b\x7f\x85\u2028\ud800") | st.sampled_from(sorted(DANGEROUS)), min_size=1
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | BAD | st.just(PAYLOAD),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=10,
)


class Row(msgspec.Struct, rename={"time": "created_at"}):
    id: Id
    type: str = "unknown"
    time: Moment = None
    subject: str | None = None


class Page(msgspec.Struct):
    data: list[msgspec.Raw]


@frozen
class Answer:
    """An answer as a client gives it."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(factory=lambda: {"content-type": "application/json"})
    place: str = "GET https://api.test/events"


def _mangled(draw: Callable[[st.SearchStrategy[Any]], Any], whole: bytes) -> bytes:
    """Return *whole* with a few bytes of it replaced, dropped or doubled."""
    for _ in range(draw(st.integers(0, 3))):
        at, length = draw(st.integers(0, len(whole))), draw(st.integers(0, 4))
        whole = whole[:at] + draw(st.binary(max_size=4)) + whole[at + length :]
    return whole


def _written(draw: Callable[[st.SearchStrategy[Any]], Any], value: Any) -> bytes:
    """Return JSON as somebody may write it: on one line or more, with what needs no escape or not."""
    indent, line_end = draw(st.sampled_from([(None, ""), (1, "\n"), (1, "\r\n"), (1, "\r")]))
    text = json.dumps(value, indent=indent, ensure_ascii=draw(st.booleans()))
    return text.replace("\n", line_end).encode("utf-8", "surrogatepass")


@st.composite
def pages(draw: Any) -> bytes:
    """Make a page as a vendor sends it, or something near it."""
    rows = draw(
        st.lists(JSON | st.fixed_dictionaries({"id": JSON, "created_at": JSON}), max_size=4)
    )
    return _mangled(draw, _written(draw, {"data": rows}))


def a_page(draw: Any) -> None:
    """Decode a page and its items; a page that cannot be is to be asked for again."""
    answer = Answer(b"{" + draw(pages())[1:])
    try:
        page = decode_page(answer, Page, secret=Secret(SECRET))
    except Retry as error:
        assert PAYLOAD not in str(error)
        return
    found = to_events(page.data, Row, partition="p", kinds={}, now=START)
    for each in found:
        if isinstance(each, Event):
            assert _is_clean(each.raw)


def _is_clean(line: bytes) -> bool:
    """Whether JSON is one line that does nothing to a terminal, and that every reader takes."""
    text = line.decode()
    values = json.loads(text, parse_float=str, parse_int=str)
    held = json.dumps(values, ensure_ascii=False)
    return not DANGEROUS.intersection(text) and not LONE.intersection(held)


def bytes_instead_of_a_page(draw: Any) -> None:
    """Decode anything."""
    try:
        decode_page(Answer(draw(st.binary())), Page, secret=Secret(SECRET))
    except Retry as error:
        assert SECRET not in str(error)


def a_refusal(draw: Any) -> None:
    """Make a failure of any answer; it may quote what the vendor says, but neither key nor line."""
    words = draw(
        st.lists(st.sampled_from([SECRET, quote(SECRET, safe=""), "\n", "\x1b["]) | st.text())
    )
    body = draw(st.sampled_from([json.dumps({"error": " ".join(words)}), " ".join(words)]))
    status = draw(st.integers(300, 599))

    failure = refusal(Answer(_mangled(draw, body.encode()), status), secret=Secret(SECRET))

    assert SECRET not in str(failure)
    assert not DANGEROUS.intersection(str(failure))


def a_retry_after(draw: Any) -> None:
    """Read a header that asks to wait."""
    dates = st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    value = draw(ANYTHING | dates | st.floats().map(str) | st.integers().map(str) | st.none())
    for wait in (retry_after(value, now=START), webhook_retry_after(value, now=START)):
        assert wait is None or timedelta(0) <= wait <= LONGEST_RETRY_AFTER


def a_time(draw: Any) -> None:
    """Read a vendor's time."""
    found = parse_time(draw(ANYTHING | st.integers() | st.floats() | st.datetimes().map(str)))
    assert found is None or found.tzinfo is UTC


@st.composite
def pipelines(draw: Any) -> str:
    """Make the text of a pipeline file that holds a secret where none belongs."""
    keys = [
        "use",
        "base_url",
        "api_key",
        "url",
        "path",
        "secret",
        "lanes",
        "only",
        "headers",
        "x y",
    ]
    scalar = st.sampled_from([SECRET, "kapso", "1s", "", "\0"]) | st.integers() | st.floats()
    scalar |= st.text(max_size=8) | st.booleans()
    value = st.recursive(
        scalar,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["env", "file", *keys]), inner, max_size=3)
        ),
        max_leaves=5,
    )
    lines = []
    for kind, use in (("sources", "kapso"), ("sinks", "webhook"), ("sinks", "file")):
        lines.append(f"[{kind}.{use}]")
        options = draw(st.dictionaries(st.sampled_from(keys), value, max_size=4))
        lines += [f"{_toml(name)} = {_toml(each)}" for name, each in options.items()]
    lines.append("[pipeline]")
    settings = ["state", "poll_interval", "concurrency", "retention", SECRET]
    options = draw(st.dictionaries(st.sampled_from(settings), value, max_size=3))
    lines += [f"{_toml(name)} = {_toml(each)}" for name, each in options.items() if name != SECRET]
    return "\n".join(lines)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float() if math.isnan(value) or math.isinf(value):
            return str(value)
        case int() | float():
            return repr(value)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return (
                "{"
                + ", ".join(f"{_toml(key)} = {_toml(each)}" for key, each in value.items())
                + "}"
            )
        case _:
            return json.dumps(str(value)).replace("\x7f", "\\u007f")


REGISTRY = Registry()


def a_pipeline_file(draw: Any) -> None:
    """Load a file that is TOML, and one that may be none."""
    text = draw(pipelines())
    content = (
        _mangled(draw, text.encode("utf-8", "replace")) if draw(st.booleans()) else text.encode()
    )
    with TemporaryDirectory() as folder:
        file = Path(folder, "p.toml")
        file.write_bytes(content)
        try:
            load(file, registry=REGISTRY, read_secrets=draw(st.booleans()))
        except ConfigError as error:
            assert _is_shown_where_it_may(SECRET, str(error), content)
        except PluginError as error:
            assert SECRET not in str(error)


def _is_shown_where_it_may(secret: str, message: str, content: bytes) -> bool:
    """Return whether *message* keeps *secret*; a name or a path in the file may be quoted."""
    if secret not in message:
        return True
    try:
        table = tomllib.loads(content.decode())
    except (ValueError, UnicodeDecodeError):
        return False
    places = [each.get(key) for each in _tables(table) for key in ("use", "env", "file", "path")]
    return secret in str(places)


def _tables(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict) else []
    return own + [table for each in inner for table in _tables(each)]


def a_url(draw: Any) -> None:
    """Take a URL apart, and follow nothing out of its origin."""
    parts = st.sampled_from(
        ["http://", "https://", "a.test", "@", ":80", "\\", "[::1]", "/", "?", "#"]
    )
    anything = st.lists(parts | st.text(max_size=4) | st.just(SECRET), max_size=8).map("".join)
    with_a_name = st.sampled_from(["", ":", ":x", "%40", "@"]).map(
        lambda word: f"https://{PERSON}{word}@a.test/"
    )
    try:
        address = Address.parse(draw(anything | with_a_name))
    except ConfigError as error:
        assert PERSON not in str(error)
        return
    assert urlsplit(address.origin).hostname is not None
    elsewhere = address.elsewhere(address.base or "/", draw(ANYTHING))
    assert elsewhere != address.origin


ADDRESS = Address.parse("https://api.test/v1")


def a_path(draw: Any) -> None:
    """Put an id that a vendor sent into a path: it is one segment, and nothing else changes.

    One that climbs is refused, as some servers decode slashes before they look for dots.
    """
    text = draw(
        st.text() | st.text("./\\a") | st.sampled_from(["a/../..", "?x", "#", "%2e", "\r\n"])
    )
    try:
        path = ADDRESS.path(f"/executions/{quote(text, safe='')}/events")
    except Gone:
        assert _climbs(text)
        return
    assert not _climbs(text)
    assert path.startswith("/v1/executions/")
    assert path.endswith("/events")
    assert path.count("/") == 4


def a_path_as_it_came(draw: Any) -> None:
    """Put in what was not quoted: it stays below the base, or is refused without showing it."""
    dots = st.lists(st.sampled_from([".", "/", "%2e", "%2F", "%5c", "a"])).map("".join)
    text = draw(ANYTHING | dots | st.sampled_from(["//evil.test", "a?b", "a\r\nHost: b", SECRET]))
    try:
        path = ADDRESS.path(text)
    except Gone:
        return
    except ValueError as error:
        assert type(error) is ValueError
        assert len(text) < len(SECRET) or text not in str(error)
        return
    assert path.startswith("/v1")
    assert not set("?#\\ \r\n") & set(path)
    assert not _climbs(unquote(path))


def _climbs(path: str) -> bool:
    return not {".", ".."}.isdisjoint(path.replace("\\", "/").split("/"))


def a_line_on_a_terminal(draw: Any) -> None:
    """Show any text on one line."""
    assert not DANGEROUS.intersection(safe(draw(ANYTHING | BAD)))


def a_line_of_json(draw: Any) -> None:
    """Make one safe line of any JSON; of what is none, at least one line."""
    raw = _written(draw, draw(JSON | BAD))

    line = one_line(raw)
    other = one_line(_mangled(draw, raw)).decode()

    assert _is_clean(line)
    assert json.dumps(json.loads(line)) == json.dumps(json.loads(mended(raw)))
    assert all(character < " " for character in DANGEROUS.intersection(other))
    assert not {"\n", "\r"}.intersection(other)
    mended(draw(st.binary())).decode()


def an_event(draw: Any) -> None:
    """Write an event whose every name is anything."""
    text = [draw(ANYTHING) for _ in range(4)]
    raw = one_line(json.dumps(draw(JSON)).encode())
    event = Event(
        text[0], type=text[1], time=START, partition=text[2], raw=raw, kind=text[3] or None
    )

    line = cloudevent(event)

    assert _is_clean(line)


def a_secret_in_a_text(draw: Any) -> None:
    """Scrub: the value is gone in whatever form, and the rest is as it was."""
    value = draw(st.text(st.characters(exclude_characters=f"{REDACTED}<>"), min_size=8))
    secret = Secret(value)
    raw = value.encode("utf-8", "surrogatepass")
    forms = [
        value,
        repr(value)[1:-1],
        ascii(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(raw),
        quote(raw, safe=""),
        quote_plus(raw),
        "".join(f"&#{ord(char)};" for char in value),
        "".join(f"&#x{ord(char):x};" for char in value),
        raw.hex(),
        raw.hex(":"),
    ]

    for form in forms:
        assert scrub_known(f"<{form}>") == f"<{REDACTED}>"
        assert secret.scrub(f"<{form}>") == f"<{REDACTED}>"


PROPERTIES = {
    each.__name__: each
    for each in (
        a_page,
        bytes_instead_of_a_page,
        a_refusal,
        a_retry_after,
        a_time,
        a_pipeline_file,
        a_url,
        a_path,
        a_path_as_it_came,
        a_line_on_a_terminal,
        a_line_of_json,
        an_event,
        a_secret_in_a_text,
    )
}


@pytest.mark.parametrize("name", PROPERTIES)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_in_short(name: str, data: st.DataObject) -> None:
    PROPERTIES[name](data.draw)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", PROPERTIES)
@given(data=st.data())
@settings(max_examples=10_000, deadline=None)
def test_at_length(name: str, data: st.DataObject) -> None:
    PROPERTIES[name](data.draw)
