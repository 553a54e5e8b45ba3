"""Quirks by name, as a command line writes them: `kapso.timestamp_cursors`, `kapso.skew=10m`."""

from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from attrs import frozen

from levada.config import durations
from levada.sandbox.kapso.quirks import KapsoQuirks
from levada.sandbox.quirks import Quirks
from levada.sandbox.stevora.quirks import StevoraQuirks

__all__ = ["Switch", "read_quirks", "switches"]

_VENDORS: Final[dict[str, type[Quirks]]] = {"kapso": KapsoQuirks, "stevora": StevoraQuirks}


@frozen
class Switch:
    """One quirk of one vendor. `type` is what its value is; a bool needs none."""

    vendor: str
    field: str
    type: Any
    help: str

    @property
    def name(self) -> str:
        """The name, with the vendor's in front."""
        return f"{self.vendor}.{self.field}"

    @property
    def value(self) -> str:
        """What to write for a value: "" where there is none."""
        if get_origin(self.type) is Literal:
            return "|".join(get_args(self.type))
        return {bool: "", int: "N", timedelta: "DURATION"}[self.type]

    def read(self, text: str | None) -> Any:
        """Read a value; None stands for none.

        Raises:
            ValueError: It is not what the switch takes.
        """
        if self.type is bool and text is None:
            return True
        if self.type is int and text is not None and text.isascii() and text.isdigit():
            return int(text)
        if self.type is timedelta and text is not None:
            length = durations.parse(text.removeprefix("-"))
            if length is not None:
                return -length if text.startswith("-") else length
        if text in get_args(self.type):
            return text
        needed = f"write {self.name}={self.value}" if self.value else "it takes no value"
        raise ValueError(f"quirk {self.name}: {needed}")


def switches() -> list[Switch]:
    """Return every switch, vendor by vendor, those that both have first."""
    return [
        Switch(vendor, name, *get_args(hint))
        for vendor, cls in _VENDORS.items()
        for name, hint in get_type_hints(cls, include_extras=True).items()
    ]


def read_quirks(texts: Iterable[str]) -> tuple[KapsoQuirks, StevoraQuirks]:
    """Read `NAME` or `NAME=VALUE`, any number of times; of two with the same name the last counts.

    Raises:
        ValueError: There is no such switch, or it has no such value.
    """
    kapso, stevora = KapsoQuirks(), StevoraQuirks()
    quirks: dict[str, Quirks] = {"kapso": kapso, "stevora": stevora}
    known = {switch.name: switch for switch in switches()}
    for text in texts:
        name, has_value, value = text.partition("=")
        if name not in known:
            raise ValueError(_unknown(name, list(known)))
        switch = known[name]
        setattr(quirks[switch.vendor], switch.field, switch.read(value if has_value else None))
    return kapso, stevora


def _unknown(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return f"there is no quirk {name!r}; {hint}"
