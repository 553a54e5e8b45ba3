"""Kapso's cursors: the Base64 of `{"version":1,"values":[…]}`, the sort values of a row.

Such a cursor stays valid when rows are added or its row is gone. The one that Kapso's reference
shows decodes to a time alone; ours hold the id as well, so that rows of equal time are never
skipped, unless a quirk takes it away.
"""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

__all__ = ["Key", "decode_cursor", "encode_cursor"]

Key = tuple[datetime, str]
"""A time and an id, the sort values of every list."""

_BEFORE_ALL_IDS: Final = ""
_AFTER_ALL_IDS: Final = "\U0010ffff"

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Values(msgspec.Struct, array_like=True):
    time: Moment
    id: str | None = None


class _Wire(msgspec.Struct):
    version: Literal[1]
    values: _Values


def encode_cursor(key: Key, *, with_id: bool = True) -> str:
    """Print the sort values of a row as a cursor."""
    time = key[0].isoformat(timespec="microseconds").replace("+00:00", "Z")
    raw = msgspec.json.encode({"version": 1, "values": [time, key[1]] if with_id else [time]})
    return base64.b64encode(raw).decode("ascii")


def decode_cursor(cursor: str, *, is_upper: bool) -> Key:
    """Read a cursor back; one without an id is a bound that leaves out all rows of its time.

    `is_upper` says whether it bounds the rows above (as `after`) or below (as `before`).

    Raises:
        ValueError: It is not one of ours.
    """
    try:
        values = msgspec.json.decode(base64.b64decode(cursor, validate=True), type=_Wire).values
    except (binascii.Error, msgspec.DecodeError) as error:
        raise ValueError("not a cursor") from error
    if values.id is None:
        return values.time, _BEFORE_ALL_IDS if is_upper else _AFTER_ALL_IDS
    return values.time, values.id
