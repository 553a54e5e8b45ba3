"""The options of a class, found in its attrs fields."""

import inspect
import sys
from contextlib import suppress
from typing import Any, get_type_hints

import attrs
from attrs import NOTHING, frozen

from levada.asking import broken_class, looked_at
from levada.config.types import Type, container, is_readable, item, plain
from levada.secret import Secret

_FACTORY: type[Any] = type(attrs.Factory(list))  # to type checkers, Factory is a function


@frozen
class Option:
    """One option: an attrs field that the constructor takes."""

    attribute: "attrs.Attribute[Any]"
    type: Type

    @property
    def name(self) -> str:
        """The key in the table."""
        return self.attribute.alias or self.attribute.name

    @property
    def required(self) -> bool:
        """Whether the file must have it, the environment variable for a secret aside."""
        return self.attribute.default is NOTHING

    @property
    def inherited(self) -> bool:
        """Whether every source, or every sink, has it."""
        return bool(getattr(self.attribute, "inherited", False))  # missing in the stubs of attrs

    @property
    def is_secret(self) -> bool:
        """Whether it holds a secret, or several."""
        tp = plain(self.type)
        return tp is Secret or (container(tp) is not None and item(tp) is Secret)

    @property
    def env(self) -> str | None:
        """The environment variable that a secret is taken from when the file is silent."""
        return self.attribute.metadata.get("env") if self.is_secret else None

    @property
    def default(self) -> Any:
        """What it is when the file is silent; None also where there is no default."""
        default = self.attribute.default
        if isinstance(default, _FACTORY):
            return None if default.takes_self else default.factory()
        return None if default is NOTHING else default

    @property
    def help(self) -> str:
        """What it is for, in one sentence."""
        return str(self.attribute.metadata.get("help") or "")


def options_of(cls: type) -> dict[str, Option]:
    """Return the options of an attrs class by key, in the order they were declared."""
    with looked_at(cls):
        options = [Option(each, _type(cls, each)) for each in attrs.fields(cls) if each.init]
        for option in options:
            env: object = option.env
            if not isinstance(env, str | None):
                reason = f"declares option '{option.name}' with an `env` that is no string"
                raise broken_class(cls, reason)
        return {option.name: option for option in options}


def summary(cls: type) -> str:
    """Return the first paragraph of a class's own docstring on one line; "" without one."""
    paragraphs = inspect.cleandoc(cls.__doc__ or "").split("\n\n")
    return " ".join(paragraphs[0].split())


def _type(cls: type, attribute: "attrs.Attribute[Any]") -> Type:
    tp: Type = attribute.type
    with suppress(NameError):  # a type imported for type checkers alone stays a string
        tp = _evaluated(cls, attribute) if isinstance(tp, str) else tp
    if not is_readable(tp):
        reason = f"declares option '{attribute.alias}' with a type no file can hold"
        raise broken_class(cls, reason)
    return tp


def _evaluated(cls: type, attribute: "attrs.Attribute[Any]") -> Type:
    """Return the type that a string annotation means in the module it was written in."""
    bases = [base for base in cls.__mro__ if attrs.has(base) and _declares(base, attribute)]
    names = vars(sys.modules[bases[-1].__module__])
    holder = type("_", (), {"__annotations__": {"it": attribute.type}})
    return get_type_hints(holder, names, include_extras=True)["it"]


def _declares(cls: type, attribute: "attrs.Attribute[Any]") -> bool:
    field = attrs.fields_dict(cls).get(attribute.name)
    return field is not None and field.type == attribute.type
