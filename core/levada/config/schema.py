"""JSON Schema (draft 7, what editors know) of options, connectors and the whole pipeline file.

Says what the checker says wherever JSON Schema can. It cannot tell 1.0 from 1, and it knows
neither the environment nor the validators that plugins write themselves.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from levada._json import Json
from levada.asking import looked_at
from levada.config import durations
from levada.config.faults import BARE_KEY
from levada.config.host_keys import HostKey, Role, host_keys, role_of
from levada.config.limits import limits
from levada.config.options import Option, options_of, summary
from levada.config.types import Type, choices, container, is_table, item, plain, union
from levada.config.values import INTEGERS
from levada.config.words import jsonable
from levada.connector import Connector
from levada.errors import PluginError
from levada.plugins import Registry
from levada.secret import Secret
from levada.setup import Settings

Schema: TypeAlias = dict[str, Json]

ROLES: Sequence[Role] = ("source", "sink")

DRAFT = "http://json-schema.org/draft-07/schema#"

_TEXT: Schema = {"type": "string", "minLength": 1}
_SECRET: Schema = {
    "type": "object",
    "properties": {
        "env": _TEXT | {"description": "The environment variable that holds the secret."},
        "file": _TEXT | {"description": "The file that holds it; only its owner may read it."},
        "command": {
            "type": "array",
            "items": _TEXT,
            "minItems": 1,
            "description": "The program and arguments that print it.",
        },
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_SCALARS: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": INTEGERS[0], "maximum": INTEGERS[-1]},
    float: {"type": "number"},
    Path: _TEXT,
    timedelta: {"type": "string", "pattern": durations.PATTERN},
    datetime: {"type": "string", "format": "date-time"},
    Secret: _SECRET,
}


def pipeline_schema(registry: Registry) -> Schema:
    """Return the schema of a pipeline file that may use every connector installed here.

    Imports every plugin; those that are broken are left out.
    """
    tables = {role: _tables(registry, role) for role in ROLES}
    sections = {f"{role}s": _section(role, list(tables[role])) for role in ROLES}
    return {
        "$schema": DRAFT,
        "title": "Levada pipeline",
        "type": "object",
        "properties": {**sections, "pipeline": _table(Settings, ())},
        "additionalProperties": False,
        "required": list(sections),
        "definitions": {
            _definition(role, name): table for role in ROLES for name, table in tables[role].items()
        },
    }


def connector_schema(cls: type[Connector]) -> Schema:
    """Return the schema of a table for connector *cls*, the host's own keys included."""
    return {"$schema": DRAFT, "title": cls.name, **_table(cls, host_keys(role_of(cls)))}


def type_schema(tp: Type) -> Schema:
    """Return the schema of a value of type *tp*."""
    tp = plain(tp)
    if members := union(tp):
        return {"anyOf": [type_schema(member) for member in members]}
    if options := choices(tp):
        return {"enum": jsonable(options)}
    if container(tp):
        several = {"type": "array", "items": type_schema(item(tp))}
        return {"anyOf": [_SECRET, several]} if item(tp) is Secret else several
    if is_table(tp):
        return {"type": "object", "additionalProperties": type_schema(item(tp))}
    return dict(_SCALARS.get(tp, {}))


def _section(role: Role, names: Sequence[str]) -> Schema:
    """Return the schema of ``[sources]`` or ``[sinks]``.

    `use` chooses among the connectors; a table without it is that of the connector of its name.
    Each ``anyOf`` has an empty alternative and so demands nothing: editors that do not look
    behind ``then`` and ``else`` find the keys to complete there.
    """
    tables = {name: {"$ref": f"#/definitions/{_definition(role, name)}"} for name in names}
    used: Schema = {
        "required": ["use"],
        "properties": {"use": {"enum": list(tables)}},
        "allOf": [
            {"if": {"properties": {"use": {"const": name}}}, "then": table}
            for name, table in tables.items()
        ],
    }
    named = {
        name: {"if": {"required": ["use"]}, "then": used, "else": table, "anyOf": [table, {}]}
        for name, table in tables.items()
    }
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{BARE_KEY.pattern}$"},
        "properties": named,
        "additionalProperties": {**used, "type": "object", "anyOf": [*tables.values(), {}]},
    }


def _definition(role: Role, name: str) -> str:
    return f"{role}.{name}"


def _tables(registry: Registry, role: Role) -> dict[str, Schema]:
    """Return the schema of a table for every connector of this role that works."""
    tables = {}
    for name in (offer.name for offer in registry.offers() if role in offer.roles):
        cls = registry.source(name) if role == "source" else registry.sink(name)
        with suppress(PluginError), looked_at(cls):
            table = _table(cls, host_keys(role))
            json.dumps(table)  # a default may be anything
            tables[name] = table
    return tables


def _table(cls: type, keys: Sequence[HostKey]) -> Schema:
    options = options_of(cls).values()
    hosts = {key.name: type_schema(key.type) | {"description": key.help} for key in keys}
    return {
        "type": "object",
        "description": summary(cls),
        "properties": {**{option.name: _option(option) for option in options}, **hosts},
        "additionalProperties": False,
        "required": [option.name for option in options if option.required and not option.env],
    }


def _option(option: Option) -> Schema:
    schema = type_schema(option.type)
    for limit in limits(option.attribute.validator):
        schema = _merged(schema, limit.schema)
    default = None if option.is_secret else option.default
    shown = {} if default is None else {"default": jsonable(default)}
    return schema | {"description": option.help} | shown


def _merged(schema: Schema, more: Mapping[str, Json]) -> Schema:
    both = {
        key: _merged(schema[key], more[key]) for key in schema if isinstance(more.get(key), dict)
    }
    return {**schema, **more, **both}
