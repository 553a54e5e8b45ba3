"""What `levada describe` says of a connector: its options, what it guarantees, a starter table.

All of it comes from the class: the attrs fields, their validators, and what `option` was told.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from attrs import field, frozen

from levada._json import Json
from levada.asking import looked_at
from levada.config.host_keys import Role, host_keys, role_of
from levada.config.limits import limits
from levada.config.options import Option, options_of, summary
from levada.config.schema import connector_schema, pipeline_schema
from levada.config.types import Type, choices, container, is_table, plain
from levada.config.words import expected, toml
from levada.connector import Connector
from levada.plugins import Registry
from levada.sink import Sink
from levada.source import Source

_EXAMPLES: Mapping[Type, str] = {
    bool: "false",
    int: "0",
    float: "0.0",
    timedelta: '"10s"',
    datetime: "2026-01-31T12:00:00Z",
}


@frozen
class OptionDescription:
    """One option of a connector, or one of the host's keys in its table."""

    name: str
    type: str
    """In words: "an integer", "a list of strings"."""

    help: str = field(default="", kw_only=True)
    default: str | None = field(default=None, kw_only=True)
    """In TOML; None where there is none that TOML could hold."""

    required: bool = field(default=False, kw_only=True)
    """Whether the file must have it. Never for what has an `env`."""

    env: str | None = field(default=None, kw_only=True)
    """The environment variable a secret is taken from when the file is silent."""

    choices: Sequence[str] = field(default=(), kw_only=True)
    """The only values there are, in TOML; empty where there are more."""

    limits: Sequence[str] = field(default=(), kw_only=True)
    """What else the value must do: "be at least 1"."""

    example: str = field(default="", kw_only=True)
    """A value of the right type, in TOML, to start from."""

    def json(self) -> dict[str, Json]:
        """Return the description as JSON values."""
        return {
            "name": self.name,
            "type": self.type,
            "default": self.default,
            "required": self.required,
            "env": self.env,
            "choices": list(self.choices),
            "limits": list(self.limits),
            "help": self.help,
        }


@frozen
class Description:
    """A connector, described."""

    name: str
    role: Role
    summary: str
    options: Sequence[OptionDescription]
    """Its own options, then those that every source or sink has."""

    host_options: Sequence[OptionDescription]
    """The keys of its table that the host takes for itself, `use` aside."""

    guarantee: str | None
    """What a sink promises over a crash; None for a source."""

    live: bool
    """Whether it is a source that never ends and needs `--follow`."""

    schema: dict[str, Json] = field(repr=False)
    """The JSON Schema of its table."""

    def json(self) -> dict[str, Json]:
        """Return the description as JSON values."""
        return {
            "name": self.name,
            "role": self.role,
            "summary": self.summary,
            "guarantee": self.guarantee,
            "live": self.live,
            "options": [option.json() for option in (*self.options, *self.host_options)],
        }

    def toml(self, name: str | None = None) -> str:
        """Return a starter table called *name*, by default the connector's own name.

        What must be filled in stands open and marked; everything else is a comment that shows
        the default. It parses as it is.
        """
        lines = [f"[{self.role}s.{name or self.name}]"]
        lines += [f"# {self.summary}"] if self.summary else []
        lines += [f"use = {toml(self.name)}"] if name not in {None, self.name} else []
        for option in (*self.options, *self.host_options):
            lines += ["", *_lines(option)]
        return "\n".join(lines) + "\n"


def describe(cls: type[Connector]) -> Description:
    """Describe a connector's class.

    Raises:
        PluginError: an option has a type that no pipeline file can hold, or looking at the class
            fails.
    """
    with looked_at(cls):
        made = _description(cls)
        json.dumps([made.json(), made.schema])  # its default may be anything
        return made


def _description(cls: type[Connector]) -> Description:
    options = sorted(options_of(cls).values(), key=_rank)
    return Description(
        name=cls.name,
        role=role_of(cls),
        summary=summary(cls),
        options=[_described(option, cls.name) for option in options],
        host_options=[
            OptionDescription(key.name, expected(key.type), help=key.help)
            for key in host_keys(role_of(cls))
            if key.name != "use"
        ],
        guarantee=cls.guarantee if issubclass(cls, Sink) else None,
        live=issubclass(cls, Source) and cls.live,
        schema=connector_schema(cls),
    )


def schema(registry: Registry) -> dict[str, Json]:
    """Return the JSON Schema of a pipeline file with every connector that is installed here."""
    return pipeline_schema(registry)


def _rank(option: Option) -> tuple[bool, bool]:
    return not option.required, option.inherited


def _described(option: Option, connector: str) -> OptionDescription:
    default = None if option.is_secret else option.default
    return OptionDescription(
        option.name,
        expected(option.type),
        help=option.help,
        default=None if default is None else toml(default),
        required=option.required and not option.env,
        env=option.env,
        choices=[toml(each) for each in choices(plain(option.type))],
        limits=[limit.text for limit in limits(option.attribute.validator)],
        example=_example(option, connector),
    )


def _example(option: Option, connector: str) -> str:
    if option.is_secret:
        made_up = f"{connector}_{option.name}".upper().replace("-", "_")
        return toml({"env": option.env or made_up})
    tp = plain(option.type)
    if options := choices(tp):
        return toml(options[0])
    if container(tp):
        return "[]"
    return "{}" if is_table(tp) else _EXAMPLES.get(tp, '""')


def _lines(option: OptionDescription) -> list[str]:
    about = [option.help, *_shape(option)]
    comment = f"# {about[0]} ({'; '.join(about[1:])})" if about[1:] else f"# {about[0]}"
    if option.required:
        return [comment, f"{option.name} = {option.example}  # required"]
    if option.env:
        return [comment, f"{option.name} = {option.example}"]
    return [comment, f"# {option.name} = {option.default or ''}".rstrip()]


def _shape(option: OptionDescription) -> list[str]:
    """Say what the value beside it, where there is one, does not show by itself."""
    shown = (option.default or option.env) and not option.choices
    return [*([] if shown else [option.type]), *(f"must {text}" for text in option.limits)]
