"""The wire format: an event as a CloudEvents 1.0 JSON object, around the vendor's own bytes."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from io import BytesIO
from itertools import accumulate

from levada.event import Event

STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
"""Matches a string in JSON, with `re.DOTALL`; possessive, as `re` would remember every escape."""

# What a terminal or a log reader might act on, in UTF-8: DEL, C1 controls, bidirectional controls,
# line and paragraph separators. Here and below many are one match, but not any number: `re`
# remembers each of them, in a hundred bytes. It is quick if a pattern does not begin with a repeat.
_CONTROL = rb"(?:\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2(?:\x80[\x8e\x8f\xa8-\xae]|\x81[\xa6-\xa9]))"
_UNSAFE = re.compile(rb"%b%b{0,999}" % (_CONTROL, _CONTROL))

# Escapes in a JSON string; in the group if they are halves of surrogate pairs without the others.
_HALF = rb"u[dD][89a-fA-F][0-9a-fA-F]{2}"
_HIGH = rb"u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"u[dD][c-fC-F][0-9a-fA-F]{2}"
_WHOLE = rb"(?:%b\\%b|(?!%b).)" % (_HIGH, _LOW, _HALF)
_ESCAPES = re.compile(
    rb"\\(?:%b(?:\\%b){0,999}|(%b(?:\\(?!%b\\%b)%b){0,999}))"
    % (_WHOLE, _WHOLE, _HALF, _HIGH, _LOW, _HALF),
    re.DOTALL,
)

# What looks like such a half: one without its neighbour, or an escaped backslash before.
_LONE = re.compile(
    rb"\\(?:%b(?!\\%b)|(?<!\\%b\\)%b|\\u[dD])" % (_HIGH, _LOW, _HIGH, _LOW), re.DOTALL
)

_STRING = re.compile(STRING, re.DOTALL)
_BLOCK = 64 * 1024  # bytes to decode at a time: as a str, text takes up to four times the memory
_LONG_NUMBER = re.compile(rb"[0-9]{4301}")  # Python and what is written in it read no longer ones
_DEEPEST = 200  # levels of an item; readers that stop at 256 still have room for what we put around
_BRACKETS = {b: 1 if b in b"[{" else -1 for b in b"[]{}"}

# Text that JSON writes as it is: ids and names nearly always are such.
_PLAIN = re.compile(r"[\w.:/ -]*", re.ASCII)


def cloudevent(event: Event) -> bytes:
    """Return *event* as one line of CloudEvents JSON, without a line end.

    `data` is the vendor's record, byte for byte as the source kept it. Nothing in the line
    depends on when it was made, so writing it again gives the same bytes.
    """
    return (
        b'{"specversion":"1.0","datacontenttype":"application/json","id":%b%b%b,"time":"%b"%b%b,"data":%b}'
        % (
            _string(event.id),
            _source(_uri(event), event.partition),
            _type(event_type(event), event.kind),
            timestamp(event.time).encode("ascii"),
            b',"subject":' + _string(event.subject) if event.subject else b"",
            b"" if event.seq is None else b',"sequence":"%020d"' % event.seq,
            event.raw,
        )
    )


def event_type(event: Event) -> str:
    """Return the CloudEvents type: the connector's name, a dot, the vendor's type."""
    return f"{event.origin.connector}.{event.type}" if event.origin else event.type


def timestamp(time: datetime) -> str:
    """Return *time* in UTC with six decimals and ``Z``."""
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    return time.isoformat(timespec="microseconds")[:-6] + "Z"


def one_line(raw: bytes) -> bytes:
    """Return a JSON text as one safe line of UTF-8: the same value, the same bytes if they can be.

    Line breaks between tokens go. Characters that a terminal or line reader might act on are
    written as JSON escapes. What no JSON parser has to take is replaced, as in `mended`.
    """
    if is_safe(raw):
        return raw
    text = mended(raw).replace(b"\r", b"").replace(b"\n", b"")
    return _replaced(_UNSAFE, text, _escaped)


def is_plain(raw: bytes) -> bool:
    """Whether *raw* is ASCII on one line, which is quick to tell and needs no escapes."""
    return raw.isascii() and not (b"\n" in raw or b"\r" in raw or b"\x7f" in raw)


def hard_to_read(raw: bytes) -> str:
    """Return what many readers would choke on in a text although it is JSON; "": nothing."""
    may_be_deep = raw.count(b"[") + raw.count(b"{") > _DEEPEST
    if not may_be_deep and not _LONG_NUMBER.search(raw):  # nearly all are neither
        return ""
    rest = without_strings(raw)
    if _LONG_NUMBER.search(rest):
        return "has a number of more than 4300 digits"
    levels = accumulate(_BRACKETS[each] for each in rest if each in _BRACKETS)
    return "is nested too deeply" if max(levels, default=0) > _DEEPEST else ""


def without_strings(raw: bytes) -> bytes:
    """Return a JSON text less its strings: brackets, commas, numbers and words."""
    return _replaced(_STRING, raw, lambda _: b"")


def mended(raw: bytes) -> bytes:
    """Replace what no JSON parser has to take, invalid UTF-8 and lone surrogates, by U+FFFD."""
    utf8 = raw if _is_utf8(raw) else _as_utf8(raw)
    return _replaced(_ESCAPES, utf8, _without_halves) if _may_have_halves(utf8) else utf8


def is_safe(raw: bytes) -> bool:
    """Whether `one_line` surely leaves *raw* as it is; quick, as it nearly always does."""
    if b"\n" in raw or b"\r" in raw or b"\x7f" in raw or _may_have_halves(raw):
        return False
    return raw.isascii() or (_is_utf8(raw) and not _UNSAFE.search(raw))


def _may_have_halves(raw: bytes) -> bool:
    has_surrogates = b"\\ud" in raw or b"\\uD" in raw
    return has_surrogates and _LONE.search(raw) is not None


def _is_utf8(raw: bytes) -> bool:
    try:
        return raw.isascii() or all(True for _ in _decoded(raw, "strict"))
    except UnicodeDecodeError:
        return False


def _as_utf8(raw: bytes) -> bytes:
    out = BytesIO()
    out.writelines(text.encode("utf-8") for text in _decoded(raw, "replace"))
    return out.getvalue()


def _decoded(raw: bytes, errors: str) -> Iterator[str]:
    decoder, text = codecs.getincrementaldecoder("utf-8")(errors), memoryview(raw)
    for at in range(0, len(raw), _BLOCK):
        yield decoder.decode(text[at : at + _BLOCK])
    yield decoder.decode(b"", final=True)


def _replaced(
    pattern: re.Pattern[bytes], raw: bytes, replacement: Callable[[re.Match[bytes]], bytes | None]
) -> bytes:
    """Return what `pattern.sub` would, which holds all pieces at once; None: a match stays."""
    out, text, at = BytesIO(), memoryview(raw), 0
    for match in pattern.finditer(raw):
        new = replacement(match)
        if new is not None:
            out.write(text[at : match.start()])
            out.write(new)
            at = match.end()
    if not at:
        return raw
    out.write(text[at:])
    return out.getvalue()


def _without_halves(match: re.Match[bytes]) -> bytes | None:
    return rb"\ufffd" * (len(match[0]) // len(rb"\ufffd")) if match[1] else None


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"".join(b"\\u%04x" % ord(character) for character in match[0].decode("utf-8"))


def _string(text: str) -> bytes:
    if _PLAIN.fullmatch(text):
        return b'"%b"' % text.encode("ascii")
    return one_line(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _uri(event: Event) -> str:
    return event.origin.uri if event.origin else f"urn:levada:{event.partition}"


@lru_cache(maxsize=256)
def _source(uri: str, partition: str) -> bytes:
    return b',"source":%b,"partitionkey":%b' % (_string(uri), _string(partition))


@lru_cache(maxsize=1024)
def _type(name: str, kind: str | None) -> bytes:
    kind_member = b',"kind":' + _string(kind) if kind else b""
    return b',"type":%b%b' % (_string(name), kind_member)
