"""What a value must look like; each function returns what is wrong with it, to follow "…"."""

import json
from datetime import timedelta
from typing import Never

from levada._json import Json


def of_raw(raw: object) -> str | None:
    """Say what is wrong with an event's record."""
    if not isinstance(raw, bytes):
        return f"is of type {type(raw).__name__}, not bytes"
    if b"\n" in raw or b"\r" in raw:
        return "has a line break in it"
    try:
        json.loads(raw.decode("utf-8"), parse_constant=_refuse)
    except ValueError as error:
        return f"is not JSON in UTF-8 ({error})"
    return None


def of_time(time: object) -> str | None:
    """Say what is wrong with an event's time."""
    offset = getattr(time, "utcoffset", lambda: None)()
    if offset is None:
        return f"is {time!r}, which is not an aware datetime"
    return None if offset == timedelta(0) else f"is {time!r}, which is not UTC"


def of_json(value: Json) -> str | None:
    """Say why a value does not survive being stored as JSON."""
    try:
        stored = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        return f"is {value!r}, which JSON cannot hold ({error})"
    if _alike(stored, value):
        return None
    return f"is {value!r}, and comes back from JSON as {stored!r}"


def _alike(stored: Json, value: Json) -> bool:
    """Compare down to the types: (1, 2) is not [1, 2], nor is {1: 2} what {"1": 2} is."""
    return stored == value and repr(stored) == repr(value)


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")
