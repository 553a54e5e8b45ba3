"""What a source's client does with an answer: pages, events, times and refusals.

Payloads are never parsed. A page is decoded down to the raw text of its items, an item down to the
few fields an `Event` needs; the rest travels as the vendor's own bytes::

    class EventRow(msgspec.Struct, rename={"type": "event_type", "time": "created_at"}):
        id: Id
        type: str = "unknown"
        time: Moment = None
        subject: str | None = None


    class EventPage(msgspec.Struct):
        data: list[msgspec.Raw]


    page = decode_page(await http.get("/events"), EventPage)
    found = to_events(page.data, EventRow, partition=key, kinds=KINDS, now=http.now())
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from itertools import islice, pairwise
from typing import Annotated, Any, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec

from levada.batch import Rejected
from levada.codec import STRING, hard_to_read, is_safe, mended, one_line, without_strings
from levada.connector import HttpResponse
from levada.errors import Failure, Fatal, Retry
from levada.event import Event
from levada.retry import is_transient
from levada.secret import Secret, scrub

Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)] | int
"""An identifier as vendors send it."""

Moment: TypeAlias = str | int | float | None
"""A time as vendors send it; `parse_time` reads it."""

S = TypeVar("S", bound=msgspec.Struct)

_ABSENT = msgspec.Raw(b"")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_TOKEN = re.compile(rb"%b|[\[\]{},]" % STRING, re.DOTALL)
_NO_STRUCTURE = bytes(set(range(256)) - set(b"{}[],"))
_INNERMOST = re.compile(rb"\{,*\}|\[,*\]")
_DEEPEST = 1_000
_MOST_TOKENS = 4_000_000  # of a page that is no JSON: a few seconds
_MOST_ROWS = 100_000  # of a page; each takes a hundred bytes of memory, however short it is
_EXCERPT_CHARS = 200  # of what a vendor says, in an error message
_SAYS = ("error", "message", "error_description", "detail")
_FINER = ("milliseconds", "microseconds", "nanoseconds")
_LARGEST_SECONDS = 1e11  # as seconds this is the year 5138, as milliseconds 1973


class Row(Protocol):
    """What `to_events` asks of an item's Struct: any but the id may be missing, so has a default.

    `rename` says what the vendor calls them.
    """

    id: Id
    type: str
    time: Moment

    @property
    def subject(self) -> str | None:
        """The step it is about."""


def decode_page(
    response: HttpResponse, page: type[S], *, items: str = "data", secret: Secret | None = None
) -> S:
    """Decode an answer, its items left as raw text.

    A page that is not JSON because of some items is taken all the same, so that they can be
    rejected alone: its list is cut at the commas.

    Args:
        response: An answer with status 200.
        page: A Struct, one field of which is a ``list[msgspec.Raw]``.
        items: The name of that field; its name in the JSON too, at the top level.
        secret: Kept out of the error message.

    Raises:
        Retry: the body is something else, or has more than 100,000 items.
    """
    rows = _rows(response.body) if response.body.count(b",") >= _MOST_ROWS else 0
    if rows is not None:
        if rows > _MOST_ROWS:
            raise Retry(f"{response.place} shows more than {_MOST_ROWS:,} rows on one page")
        with suppress(*_UNREADABLE):
            return msgspec.json.decode(response.body, type=page)
    try:
        return _decode_in_parts(response.body.removeprefix(b"\xef\xbb\xbf"), page, items)
    except (*_UNREADABLE, ValueError):
        raise Retry(_not_json(response, secret)) from None


def _rows(body: bytes) -> int | None:
    """Return how many items the longest array has that a page can have them in, without decoding.

    That is one at the top level, or a level below it. What lies deeper is taken away from the
    inside out. None: that is nested too deeply, or not closed.
    """
    before, text = b"", without_strings(body).translate(None, _NO_STRUCTURE)
    for _ in range(_DEEPEST):
        text = text.replace(b"{}", b"").replace(b"[]", b"")  # much faster than the next line
        smaller = _INNERMOST.sub(b"", text)
        if smaller.count(b"{") + smaller.count(b"[") <= 1:
            arrays = (each for each in _INNERMOST.findall(before + text) if each[:1] == b"[")
            return max((len(each) - 1 for each in arrays), default=0)
        if smaller == text:
            return None
        before, text = text, smaller
    return None


def _decode_in_parts(body: bytes, page: type[S], items: str) -> S:
    edges = _edges(body, b'"%b"' % items.encode())
    parts = [body[a:b].strip(b" \t\r\n,") for a, b in pairwise(edges)]
    frame = msgspec.json.decode(mended(body[: edges[0]] + body[edges[-1] :]), type=page)
    raws = [] if parts == [b""] else [msgspec.Raw(part) for part in parts]
    return msgspec.structs.replace(frame, **{items: raws})


def _edges(body: bytes, key: bytes) -> list[int]:
    """Find the array under *key* at the top level: where its inside starts, its commas, its end."""
    depth, last, edges = -1, b"", list[int]()
    for match in islice(_TOKEN.finditer(body), _MOST_TOKENS):
        token = match[0]
        if token in b"[{":
            depth += 1
            if depth == 1 and not edges and token == b"[" and last == key:
                edges.append(match.end())
        elif token in b"]}":
            depth -= 1
            if not depth and edges:
                return [*edges, match.start()]
        elif token == b",":
            if depth == 1 and edges:
                edges.append(match.start())
                if len(edges) > _MOST_ROWS:
                    break
        elif not depth:
            last = token
    raise ValueError("no such array, cut off, or too long")


def _not_json(response: HttpResponse, secret: Secret | None) -> str:
    kind = response.headers.get("content-type", "no content type").partition(";")[0]
    facts = f"{response.status}, {kind}, {len(response.body)} bytes"
    if "json" not in kind and response.body.lstrip()[:1] not in {b"[", b"{"}:
        # HTML tells whose page it is; JSON, even if broken, would show somebody's payload.
        facts += (
            f", starts with {_excerpt(response.body[:4096].decode('utf-8', 'replace'), secret)}"
        )
    return f"the answer to {response.place} is not the JSON that was expected ({facts})"


def decode_items(items: Iterable[msgspec.Raw], row: type[S]) -> list[S | Rejected]:
    """Decode the few fields of each item that *row* names; one that cannot be is rejected alone.

    A field of a type that *row* does not expect counts as absent.
    """
    decode = _decoder(row)
    found: list[S | Rejected] = []
    for item in items:
        try:
            found.append(decode(item))
        except _UNREADABLE:
            salvaged = _salvage(bytes(item), row)
            found.append(salvaged if isinstance(salvaged, Rejected) else salvaged[0])
    return found


def to_events(
    items: Sequence[msgspec.Raw],
    row: type[Row],
    *,
    partition: str,
    kinds: Mapping[str, str],
    now: datetime,
) -> list[Event | Rejected]:
    """Make events of a page's items, which must come oldest first, in the same order.

    An event without a time that can be read gets that of the event before it, the oldest that of
    the one after, and *now* if there is none on the whole page. *kinds* are the vendor's types in
    the shared vocabulary.
    """
    decode = _decoder(row)
    texts = list(map(bytes, items))
    clean = is_safe(b"".join(texts))  # asked once a page: as a rule nothing needs rewriting
    found: list[Event | Rejected] = []
    latest = None
    for text in texts:
        try:
            head, raw = decode(text), text
        except _UNREADABLE:
            salvaged = _salvage(text, row)
            if isinstance(salvaged, Rejected):
                found.append(salvaged)
                continue
            head, raw = salvaged
        if reason := hard_to_read(raw):
            found.append(Rejected(text, reason=f"an item that {reason}"))
            continue
        latest = parse_time(head.time) or latest or _first_time(texts, row) or now
        event = Event(
            str(head.id),
            type=head.type,
            time=latest,
            partition=partition,
            raw=raw if clean else one_line(raw),
            subject=head.subject,
            kind=kinds.get(head.type),
        )
        found.append(event)
    return found


@lru_cache(maxsize=64)
def _decoder(row: type[Any]) -> Any:
    return msgspec.json.Decoder(row).decode


def _salvage(raw: bytes, row: Any) -> tuple[Any, bytes] | Rejected:
    """Read what can be read of an item that is not as it should be, and its text as JSON."""
    text = mended(raw)
    try:
        fields = _decoder(_unread(row))(text)
    except msgspec.ValidationError:
        return Rejected(raw, reason="an item that is not a JSON object")
    except RecursionError:
        return Rejected(raw, reason="an item that is nested too deeply")
    except msgspec.DecodeError as error:
        return Rejected(raw, reason=f"an item that is not JSON: {error}")
    known = {}
    for each in msgspec.structs.fields(row):
        field = getattr(fields, each.name)
        if each.name == "id" and bytes(field) not in raw:
            return Rejected(raw, reason="an item whose id is not Unicode text")
        with suppress(*_UNREADABLE):
            known[each.name] = msgspec.json.decode(field, type=each.type)
    try:
        return row(**known), text
    except TypeError:
        return Rejected(raw, reason="an item without a usable id")


@lru_cache(maxsize=64)
def _unread(row: type[Any]) -> type[msgspec.Struct]:
    """Return a Struct of the same fields, each as raw text; what an item has besides is passed over."""
    fields = msgspec.structs.fields(row)
    return msgspec.defstruct(
        f"Unread{row.__name__}",
        [(each.name, msgspec.Raw, _ABSENT) for each in fields],
        rename={each.name: each.encode_name for each in fields},
    )


def _first_time(texts: Iterable[bytes], row: type[Any]) -> datetime | None:
    heads = decode_items(map(msgspec.Raw, texts), row)
    times = (parse_time(head.time) for head in heads if not isinstance(head, Rejected))
    return next(filter(None, times), None)


def parse_time(value: Moment) -> datetime | None:
    """Read a time in any form seen in vendors' answers; None if it is none.

    RFC 3339 with any offset (none is UTC) and any number of decimals, kept down to microseconds;
    Unix seconds, milli-, micro- or nanoseconds, as a number or text. The result is aware, UTC.
    """
    try:
        if isinstance(value, str):
            return _parse_text(value)
        if value is None or isinstance(value, bool):
            return None
        for _ in _FINER:
            if abs(value) > _LARGEST_SECONDS:
                value /= 1000
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _parse_text(text: str) -> datetime | None:
    if text[4:5] != "-":
        return parse_time(float(text))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        # Ruby prints "2026-03-02 09:00:00 UTC"; RFC 3339 allows a small z.
        time = datetime.fromisoformat(text.upper().replace(" UTC", "Z"))
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    return time if time.tzinfo is UTC else time.astimezone(UTC)


def refusal(
    response: HttpResponse, *, secret: Secret | None = None, of_one: bool = False
) -> Failure:
    """Turn a status that is no success into the failure to raise.

    401 and 403 are `Fatal` and say where *secret* came from, never what it is. What may pass by
    itself, most of 5xx, is `Retry`; the rest is `Fatal`. *of_one*: the answer is about one
    partition, and what is refused need not be about the others.
    """
    status = response.status
    said = error_text(response.body, secret=secret)
    what = f": {said}" if said else ""
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        url = urlsplit(response.place.rpartition(" ")[2])
        key = f"; the key came from {secret.origin}" if secret else ""
        return Fatal(f"{status} from {url.scheme}://{url.netloc}{what}{key}")
    reason = f"{status} from {response.place}{what}"
    return Retry(reason) if is_transient(status) else Fatal(reason, of_one=of_one)


def error_text(body: bytes, *, secret: Secret | None = None) -> str:
    """Return what an error answer says, quoted, escaped and without *secret*; "" if nothing.

    Understands ``{"error": "…"}``, ``{"error": {"message": "…"}}`` and the like, and plain text.
    """
    try:
        said: Any = msgspec.json.decode(body)
    except _UNREADABLE:
        said = body[:4096].decode("utf-8", "replace").strip()
    while isinstance(said, dict):
        said = next((said[key] for key in _SAYS if said.get(key)), None)
    return _excerpt(said, secret) if said and isinstance(said, str) else ""


def _excerpt(text: str, secret: Secret | None) -> str:
    text = scrub(text, [secret] if secret else [])[:_EXCERPT_CHARS]
    plain = (c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return f'"{"".join(plain)}"'
