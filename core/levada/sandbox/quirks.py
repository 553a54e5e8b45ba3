"""What a vendor may do that its reference does not say: one switch for each."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, TypeVar

from attrs import define

from levada.sandbox.world import rfc3339

__all__ = ["ZERO", "Quirks", "Shown", "integer_id"]

T = TypeVar("T")
Shown = dict[str, Any]
TimeFormat = Literal["ms", "us", "s", "offset", "unix"]

ZERO: Final = timedelta(0)

_BRASILIA: Final = timezone(timedelta(hours=-3))
_RARELY: Final = 7
_SURPRISE: Final = {"x_future": {"since": "2031", "values": [1, None, "ä"]}}

_TIMES: Final[dict[TimeFormat, Callable[[datetime], str]]] = {
    "ms": rfc3339,
    "us": lambda time: time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
    "s": lambda time: time.isoformat(timespec="seconds").replace("+00:00", "Z"),
    "offset": lambda time: time.astimezone(_BRASILIA).isoformat(timespec="milliseconds"),
    "unix": lambda time: str(int(time.timestamp())),
}
"""How each format writes a UTC time; a coarse one cuts, it does not round."""


def integer_id(id: str) -> int:  # noqa: A002  # it is one
    """Return the number that stands for an id where ids are integers; JSON keeps it exactly."""
    return int.from_bytes(sha256(id.encode()).digest()[:6])


@define(kw_only=True)
class Quirks:
    """The switches that both vendors have. All may be turned while the server runs.

    The default is what the reference says; the text beside a type is what the switch does.
    """

    skew: Annotated[timedelta, "The Date header is ahead by so much, behind if negative."] = ZERO
    times: Annotated[
        TimeFormat,
        "How times are written: ms or us (with Z), s (Z, whole seconds), offset (-03:00), unix.",
    ] = "ms"
    integer_ids: Annotated[bool, "Ids are integers, in paths and filters too."] = False
    null_payloads: Annotated[bool, "Events have the payload null."] = False
    null_steps: Annotated[bool, "Events have no step: it is null."] = False
    unknown_types: Annotated[bool, "One event in seven has a type nobody documents."] = False
    extra_fields: Annotated[bool, "Every row has a field nobody documents."] = False

    @property
    def changes_events(self) -> bool:
        """Whether events look different from what the world has encoded."""
        return self.times != "ms" or any(
            (
                self.integer_ids,
                self.null_payloads,
                self.null_steps,
                self.unknown_types,
                self.extra_fields,
            )
        )

    def time(self, time: datetime | None) -> str | None:
        """Write a time."""
        return None if time is None else _TIMES[self.times](time.astimezone(UTC))

    def id(self, id: str) -> str | int:  # noqa: A002  # it is one
        """Write an id."""
        return integer_id(id) if self.integer_ids else id

    def find(self, table: Mapping[str, T], shown: str) -> T | None:
        """Return what a table has under an id as it is written."""
        if not self.integer_ids:
            return table.get(shown)
        return next((x for id_, x in table.items() if str(integer_id(id_)) == shown), None)

    def event_type(self, event_id: str, event_type: str) -> str:
        """Write an event's type; the event's id decides whether it is an unknown one."""
        if not self.unknown_types or integer_id(event_id) % _RARELY:
            return event_type
        return event_type + ("_V2" if event_type.isupper() else "_v2")

    def row(self, row: Shown) -> Shown:
        """Finish a row."""
        return {**row, **_SURPRISE} if self.extra_fields else row
