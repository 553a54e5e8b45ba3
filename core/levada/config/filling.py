"""Fill a class's options from a table, and make the object."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import attrs
from attrs import NOTHING, validators

from levada.asking import broken_class
from levada.config import limits
from levada.config.faults import Collector, Wrong, unknown
from levada.config.options import Option, options_of
from levada.config.types import container, optional, plain
from levada.config.values import Reader
from levada.config.words import expected
from levada.errors import LevadaError, PluginError
from levada.overdue import LIMIT_S, Overdue, time_limit
from levada.secret import Secret, scrub_known

T = TypeVar("T")


def fill(
    cls: type[T], table: Mapping[str, object], reader: Reader, *, host_keys: Collection[str] = ()
) -> T:
    """Make a *cls* with the options in *table*; *host_keys* in there are the caller's business.

    Raises:
        Wrong: every fault, its place relative to the table.
        PluginError: the class itself is at fault.
    """
    options = options_of(cls)
    collector = Collector()
    for name in table:
        if name not in options and name not in host_keys:
            collector.note((name,), unknown("key", name, {*options, *host_keys}))
    values = {
        name: collector.attempt((name,), partial(_value, cls, option, table, reader))
        for name, option in options.items()
        if name in table or option.required or option.env
    }
    collector.settle()
    given = {name: value for name, value in values.items() if value is not NOTHING}
    return _make(cls, given, judge=reader.surroundings.read_secrets)


def _value(cls: type, option: Option, table: Mapping[str, object], reader: Reader) -> Any:
    given = table.get(option.name, NOTHING)
    if given is None and optional(option.type):
        return None
    if given is NOTHING:
        value = _from_environment(option, read=reader.surroundings.read_secrets)
    else:
        value = reader.read(given, option.type)
    is_empty = option.is_secret and not reader.surroundings.read_secrets
    if value is not NOTHING and not is_empty:
        _judge(cls, option, value)
    return value


def _judge(cls: type, option: Option, value: object) -> None:
    convert: Any = option.attribute.converter
    if isinstance(convert, attrs.Converter):
        return  # it may ask for the object, which is not there yet: left to the constructor
    with blaming(cls):
        limits.check(convert(value) if convert else value, option.attribute)


def _from_environment(option: Option, *, read: bool) -> Any:
    name = option.env
    if name is None:
        raise Wrong(f"missing; set it to {expected(option.type)}")
    if not option.required and not os.environ.get(name):
        return NOTHING
    if not read:
        secret = Secret("", origin=f"environment variable {name}")
    elif os.environ.get(name):
        secret = Secret.env(name)
    else:
        raise Wrong(
            f"environment variable {name} is not set; export it, "
            f'or say where the secret is: {option.name} = {{ env = "NAME" }}'
        )
    kind = container(plain(option.type))
    return kind([secret]) if kind else secret


def _make(cls: type[T], values: Mapping[str, Any], *, judge: bool) -> T:
    with blaming(cls), nullcontext() if judge else validators.disabled():
        made: object = cls(**values)
        if isinstance(made, cls):
            return made
    raise broken_class(cls, f"made {type(made).__name__} of its own options instead of itself")


@contextmanager
def blaming(cls: type) -> Iterator[None]:
    """Run code of a connector: a refusal becomes a fault, anything unexpected a `PluginError`."""
    try:
        with time_limit(LIMIT_S, partial(broken_class, cls)):
            yield
    except (PluginError, Wrong):
        raise
    except (LevadaError, ValueError, TypeError) as error:
        raise Wrong(scrub_known(str(error))) from None
    except KeyboardInterrupt:
        raise
    except Overdue as error:
        raise broken_class(cls, f"{error} over its own options") from error
    except BaseException as error:
        reason = f"broke on its own options: {type(error).__name__}"
        raise broken_class(cls, reason) from error
