"""The wire format: an event as a CloudEvents 1.0 JSON object, around the vendor's own bytes."""

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate

from levada.event import Event, Origin

# What a terminal or a log reader might act on: C1 controls, bidirectional controls, line and
# paragraph separators, lone surrogates. `_UNSAFE_BYTES` finds the same in UTF-8, faster.
_UNSAFE = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNSAFE_BYTES = re.compile(
    rb"\xc2[\x80-\x9f]|\xd8\x9c|\xe2(?:\x80[\x8e\x8f\xa8-\xae]|\x81[\xa6-\xa9])"
)

# Any escape in a JSON string; the group is there for half a surrogate pair without its other half.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
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
            _origin(event.origin, event.partition),
            _kind(event.origin, event.type, event.kind),
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
    if _is_safe(raw):
        return raw
    text = mended(raw).decode("utf-8").replace("\r", "").replace("\n", "")
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode("utf-8")


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
    return _STRING.sub(b"", raw)


def mended(raw: bytes) -> bytes:
    """Replace what no JSON parser has to take, invalid UTF-8 and lone surrogates, by U+FFFD."""
    utf8 = raw.decode("utf-8", "replace").encode("utf-8")
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], utf8)


def _is_safe(raw: bytes) -> bool:
    """Whether *raw* can stay as it is; quick, as it nearly always can."""
    if b"\n" in raw or b"\r" in raw or b"\x7f" in raw:
        return False
    if b"\\ud" in raw or b"\\uD" in raw:  # half of a surrogate pair, or both
        return False
    if raw.isascii():
        return True
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not _UNSAFE_BYTES.search(raw)


def _string(text: str) -> bytes:
    if _PLAIN.fullmatch(text):
        return b'"%b"' % text.encode("ascii")
    return one_line(json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=256)
def _origin(origin: Origin | None, partition: str) -> bytes:
    source = origin.uri if origin else f"urn:levada:{partition}"
    return b',"source":%b,"partitionkey":%b' % (_string(source), _string(partition))


@lru_cache(maxsize=1024)
def _kind(origin: Origin | None, name: str, kind: str | None) -> bytes:
    full = f"{origin.connector}.{name}" if origin else name
    kind_member = b',"kind":' + _string(kind) if kind else b""
    return b',"type":%b%b' % (_string(full), kind_member)
