"""What is wrong with a value, and where: what the modules here raise before a line is known."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

from attrs import frozen

T = TypeVar("T")

Place: TypeAlias = tuple[str | int, ...]
"""The keys and indexes that lead to a value: ("sources", "kapso", "workflows", 0)."""

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@frozen
class Fault:
    """One thing wrong. `text` never holds the value."""

    place: Place
    text: str

    def below(self, place: Place) -> "Fault":
        """Return the same fault seen from further up."""
        return Fault((*place, *self.place), self.text)


class Wrong(Exception):  # noqa: N818  # not an error of its own: it carries faults upwards
    """A value is not as it must be; everything found is in `faults`."""

    def __init__(self, *faults: Fault | str) -> None:
        self.faults: Sequence[Fault] = tuple(
            fault if isinstance(fault, Fault) else Fault((), fault) for fault in faults
        )
        super().__init__()


class Mismatch(Wrong):
    """A value is of another type altogether."""


class Collector:
    """Gathers faults while the work goes on."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def attempt(self, place: Place, work: Callable[[], T]) -> T | None:
        """Return what *work* returns; None after noting its faults below *place*."""
        try:
            return work()
        except Wrong as wrong:
            self.faults += [fault.below(place) for fault in wrong.faults]
            return None

    def note(self, place: Place, text: str) -> None:
        """Add one fault."""
        self.faults.append(Fault(place, text))

    def settle(self) -> None:
        """Raise `Wrong` with everything noted, if anything was."""
        if self.faults:
            raise Wrong(*self.faults)


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the valid name that was probably meant."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that *name* is an unknown *what*, with the nearest valid one or else all of them."""
    nearest = closest(name, known)
    if nearest:
        return f'unknown {what}; did you mean "{nearest}"?'
    return f"unknown {what}; known here: {', '.join(sorted(known))}"


def dotted(place: Place) -> str:
    """Write a place as TOML would: ``sources.kapso.workflows[0]``."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{key(step)}" if text else key(step)
    return text


def key(name: str) -> str:
    """Write one key as TOML would; quoted and escaped unless it is a bare one."""
    return name if BARE_KEY.fullmatch(name) else json.dumps(name)
