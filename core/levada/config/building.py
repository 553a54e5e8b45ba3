"""Build one connector without a file: from a table, or from words on a command line."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from levada.config.faults import Fault, Wrong, dotted
from levada.config.filling import fill
from levada.config.options import options_of
from levada.config.values import Reader, Surroundings
from levada.errors import ConfigError, Problem

T = TypeVar("T")


def build(
    cls: type[T],
    table: Mapping[str, object],
    *,
    path: str = "",
    base: Path | None = None,
    read_secrets: bool = True,
) -> T:
    """Make a *cls* with the options in *table*, checked just as in a pipeline file.

    Args:
        cls: A source, a sink, or any attrs class whose init fields are options.
        table: Values as TOML has them: durations and paths are strings, secrets references.
        path: Goes before the place of each problem.
        base: Where relative paths start; None: the working directory.
        read_secrets: As in `load`.

    Raises:
        ConfigError: with every problem there is.
        PluginError: the class itself is at fault.
    """
    base = (base or Path()).absolute()
    try:
        return fill(cls, table, Reader(Surroundings(base, read_secrets=read_secrets)))
    except Wrong as wrong:
        raise ConfigError(*(_problem(fault, path) for fault in wrong.faults)) from None


def assignments(cls: type, words: Iterable[str]) -> dict[str, object]:
    """Return the table for `build` that words like ``page_size=50`` and ``api_key.env=KEY`` mean.

    A value is TOML where it is valid TOML for the option, and a string otherwise, so that
    strings need no quotes: ``runs=12`` is the string where `runs` takes strings, and a single
    one where it takes a list.

    Raises:
        ConfigError: a word has no "=", or names an option twice.
    """
    table: dict[str, object] = {}
    problems = []
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            problems.append('an assignment has no "="; write option=value')
        elif not _assign(table, name.strip().split("."), _value(cls, name.strip(), text)):
            problems.append(f"option {name} is set twice")
    if problems:
        raise ConfigError(*problems)
    return table


def _assign(table: dict[str, object], steps: list[str], value: object) -> bool:
    """Put *value* where *steps* lead; return whether the place was free."""
    *above, last = steps
    for step in above:
        inner = table.setdefault(step, {})
        if not isinstance(inner, dict):
            return False
        table = inner
    if last in table:
        return False
    table[last] = value
    return True


def _value(cls: type, name: str, text: str) -> object:
    option = options_of(cls).get(name)
    readings = [*_as_toml(text), text, [text]]
    if option is None:
        return readings[0]
    reader = Reader(Surroundings(Path.cwd(), read_secrets=False))
    for reading in readings:
        try:
            reader.read(reading, option.type)
        except Wrong:
            continue
        return reading
    return readings[0]


def _as_toml(text: str) -> list[object]:
    try:
        parsed = tomllib.loads(f"it = {text}")
    except (ValueError, RecursionError):
        return []
    return [parsed["it"]] if len(parsed) == 1 else []


def _problem(fault: Fault, above: str) -> Problem:
    path = ".".join(part for part in (above, dotted(fault.place)) if part)
    return Problem(fault.text, path=path)
