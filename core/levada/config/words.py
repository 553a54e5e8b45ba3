"""Types and values in words: what an option takes, and what was found instead."""

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from levada._json import Json
from levada.config import durations
from levada.config.faults import key
from levada.config.types import Type, choices, container, is_table, item, plain, union
from levada.secret import Secret

_ONE: Mapping[Any, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    Path: "a path",
    timedelta: 'a duration such as "10s"',
    Secret: 'a reference such as { env = "NAME" }',
    datetime: "a date and time such as 2026-01-31T12:00:00Z",
}
_MANY: Mapping[Any, str] = {
    str: "strings",
    bool: "booleans",
    int: "integers",
    float: "numbers",
    Path: "paths",
    timedelta: 'durations such as "10s"',
    Secret: 'references such as { env = "NAME" }',
}
_FOUND: Mapping[Any, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    list: "a list",
    tuple: "a list",
    datetime: "a date and time",
    date: "a date",
    time: "a time",
    type(None): "nothing",
}


def expected(tp: Type) -> str:
    """Say what a value of type *tp* looks like in the file."""
    tp = plain(tp)
    if members := union(tp):
        return " or ".join(dict.fromkeys(map(expected, members)))
    if options := choices(tp):
        return _alternatives(options)
    if container(tp):
        one = f"{expected(Secret)} or " if item(tp) is Secret else ""
        return f"{one}a list of {_plural(item(tp))}"
    if is_table(tp):
        return f"a table of {_plural(item(tp))}"
    return "a table" if attrs.has(tp) else _ONE.get(tp, "a value")


def found(value: object) -> str:
    """Say what kind of thing *value* is, and nothing more of it."""
    return "a table" if isinstance(value, Mapping) else _FOUND.get(type(value), "something else")


def toml(value: object) -> str:
    """Write a default or a choice in TOML's notation."""
    value = jsonable(value)
    if isinstance(value, dict):
        pairs = ", ".join(f"{key(name)} = {toml(each)}" for name, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def jsonable(value: object) -> Json:
    """Return a default or a choice as the file would hold it, in the types that JSON has."""
    if isinstance(value, Enum):
        return jsonable(value.value)
    if isinstance(value, timedelta):
        return durations.render(value)
    if isinstance(value, Path | datetime):
        return str(value)
    if isinstance(value, Mapping):
        return {name: jsonable(each) for name, each in value.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [jsonable(each) for each in value]
    return value


def _plural(tp: Type) -> str:
    if options := choices(tp):
        return _alternatives(options)
    return "tables" if attrs.has(tp) or is_table(tp) else _MANY.get(tp, "values")


def _alternatives(options: tuple[Any, ...]) -> str:
    *most, last = map(toml, options)
    return f"{', '.join(most)} or {last}" if most else last
