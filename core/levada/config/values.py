"""From TOML values to the types of options: nothing is coerced, and every fault is collected."""

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from attrs import frozen

from levada.config import durations, paths, references
from levada.config.faults import Collector, Mismatch, Wrong, closest
from levada.config.types import Type, choices, container, is_table, item, plain, union
from levada.config.words import expected, found, toml
from levada.secret import Secret

Step = TypeVar("Step", str, int)

INTEGERS = range(-(2**63), 2**63)
"""What TOML and SQLite can hold."""


@frozen
class Surroundings:
    """What a value means depends on where it stands."""

    base: Path
    """The folder that relative paths start from; absolute."""

    read_secrets: bool = True
    """False: references to secrets are checked but not followed; every secret is empty."""


class Reader:
    """Turns values into what an option's annotation asks for, by a strict cattrs converter."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self._converter = cattrs.Converter(detailed_validation=False)
        for tp, hook in {
            str: _exactly(str),
            bool: _exactly(bool),
            int: _integer,
            float: _number,
            timedelta: _duration,
            datetime: _moment,
            Path: self._path,
            Secret: self._secret,
        }.items():
            self._converter.register_structure_hook(tp, hook)
        for applies, hook in (
            (container, self._list),
            (is_table, self._table),
            (union, self._union),
            (choices, _choice),
            (lambda tp: tp is Any, lambda value, _: value),
        ):
            self._converter.register_structure_hook_func(_whenever(applies), hook)

    def read(self, value: object, tp: Type) -> Any:
        """Return *value* as *tp*.

        Raises:
            Wrong: it is something else; the fault says what was expected, never the value.
        """
        return self._converter.structure(value, plain(tp))

    def _path(self, value: object, _tp: Type) -> Path:
        if not isinstance(value, str):
            raise mismatch(value, Path)
        return paths.resolve(value, self.surroundings.base)

    def _secret(self, value: object, _tp: Type) -> Secret:
        around = self.surroundings
        return references.resolve(value, base=around.base, read=around.read_secrets)

    def _list(self, value: object, tp: Type) -> Any:
        kind = container(tp) or list
        if item(tp) is Secret and isinstance(value, str | Mapping):
            return kind([self.read(value, Secret)])  # one stands for a list of one
        if not isinstance(value, list | tuple):
            raise mismatch(value, tp)
        return kind(each for _, each in self._items(enumerate(value), item(tp)))

    def _table(self, value: object, tp: Type) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise mismatch(value, tp)
        return dict(self._items(value.items(), item(tp)))

    def _items(self, pairs: Iterable[tuple[Step, object]], tp: Type) -> Iterable[tuple[Step, Any]]:
        collector = Collector()
        items = [
            (step, collector.attempt((step,), partial(self.read, each, tp))) for step, each in pairs
        ]
        collector.settle()
        return items

    def _union(self, value: object, tp: Type) -> Any:
        for member in union(tp):
            try:
                return self.read(value, member)
            except Mismatch:
                continue
        raise mismatch(value, tp)


def _whenever(applies: Callable[[Type], object]) -> Callable[[Type], bool]:
    return lambda tp: bool(applies(tp))


def mismatch(value: object, tp: Type) -> Mismatch:
    """Say that *value* is not a *tp*, without showing it."""
    return Mismatch(f"expected {expected(tp)}, got {found(value)}")


def _exactly(kind: type) -> Callable[[object, Type], Any]:
    def hook(value: object, _tp: Type) -> Any:
        if type(value) is not kind:
            raise mismatch(value, kind)
        return value

    return hook


def _integer(value: object, _tp: Type) -> int:
    if type(value) is not int:
        raise mismatch(value, int)
    if value not in INTEGERS:
        raise Wrong("expected an integer, got one that does not fit 64 bits")
    return value


def _number(value: object, _tp: Type) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise mismatch(value, float)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Wrong("expected a number, got one that is not finite")
    return number


def _duration(value: object, _tp: Type) -> timedelta:
    if not isinstance(value, str):
        raise mismatch(value, timedelta)
    duration = durations.parse(value)
    if duration is None:
        raise Wrong(f"expected {expected(timedelta)} ({durations.HELP}), got another string")
    return duration


def _moment(value: object, _tp: Type) -> datetime:
    if not isinstance(value, datetime):
        raise mismatch(value, datetime)
    if value.tzinfo is None:
        raise Wrong(f"expected {expected(datetime)}, got one without an offset")
    return value


def _choice(value: object, tp: Type) -> Any:
    allowed = choices(tp)
    if any(type(value) is type(each) and value == each for each in allowed):
        return value if isinstance(tp, type) is False else tp(value)
    if not isinstance(value, str):
        raise mismatch(value, tp)
    nearest = closest(value, [each for each in allowed if isinstance(each, str)])
    hint = f"; did you mean {toml(nearest)}?" if nearest and len(allowed) > 1 else ""
    raise Mismatch(f"expected {expected(tp)}, got another string{hint}")
