"""Values that nothing may ever show, and the search for them in any form."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from levada.sandbox import Fault, RecordedRequest, Response

# They hold what JSON escapes, URLs quote and Base64 writes with + and /.
KAPSO = 'cnry-kapso/1"2+3&4=5%6~7\\8?9'
STEVORA = "cnry-stevora/9+8=7&6%5~4?3>2"
HEADER = "cnry-header/2+7=1&8%2~8"
SIGNING = "whsec_" + base64.b64encode(b"cnry-signing" + bytes([251, 255, 191] * 6)).decode()

ALL = {"kapso": KAPSO, "stevora": STEVORA, "header": HEADER, "signing": SIGNING}

LONGEST_CHANCE = 8
"""How long a piece of Base64 has to be to be none by chance."""


def written(value: str) -> set[str]:
    """Return how programs write *value*; made apart from what Levada itself looks for."""
    raw = value.encode()
    escaped = json.dumps(value)[1:-1]
    found = {value, quote(value), quote(value, safe=""), quote_plus(value), repr(value)[1:-1]}
    found |= {escaped, escaped.replace("/", r"\/")}
    for before in (b"", b"u:", b"me:", b"you:"):  # as `Authorization: Basic` has it
        found |= {
            encode(before + raw).decode() for encode in (base64.b64encode, base64.urlsafe_b64encode)
        }
    return found


def needles(value: str) -> set[str]:
    """Return what to look for: *value* as it may be written, or pieces of it in Base64."""
    found = written(value) | {value.removeprefix("whsec_")}
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(bytes(before) + value.encode()).decode()[4:-4])
    return {form for form in found if len(form) >= LONGEST_CHANCE}


NEEDLES: Mapping[str, set[str]] = {name: needles(value) for name, value in ALL.items()}


def found_in(content: bytes | str) -> list[str]:
    """Return the names of the canaries that are in *content*, each with the form it has there."""
    text = content if isinstance(content, str) else content.decode("utf-8", "surrogateescape")
    return [
        f"{name} as {form}"
        for name, every in NEEDLES.items()
        for form in every
        if form in text or form.lower() in text
    ]


def found_below(folder: Path, *, apart_from: tuple[str, ...]) -> list[str]:
    """Search all files below *folder*, their names and contents, for canaries."""
    return [
        f"{path.relative_to(folder)}: {hit}"
        for path in _files(folder)
        if path.name not in apart_from
        for hit in [*found_in(path.name), *found_in(path.read_bytes())]
    ]


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def echo(request: RecordedRequest) -> str:
    """Return what a careless server writes: what it was sent and what it knows, in every form."""
    known = [SIGNING] if "webhook-id" in request.headers else []
    values = [*known, *request.headers.values()]
    words = {word for value in values for word in (value, *value.split())}
    return " ".join(form for word in sorted(words, key=len) for form in sorted(written(word)))


def echoing(request: RecordedRequest, status: int, **headers: str) -> Fault:
    """Return an answer whose error is the `echo`, the longest first."""
    text = " ".join(sorted(echo(request).split(" "), key=len, reverse=True))
    body = json.dumps({"error": {"message": text}}).encode()
    return Fault(answer=Response(status, body, {"Content-Type": "application/json", **headers}))
