"""One connector's table: the host's own keys in it, and the options of its class."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

from levada.config.faults import BARE_KEY, Collector, Fault, Wrong
from levada.config.filling import blaming, fill
from levada.config.host_keys import names
from levada.config.values import Reader
from levada.config.words import found
from levada.connector import Connector
from levada.errors import ConfigError
from levada.plugins import Registry
from levada.setup import SinkSetup, SourceSetup
from levada.sink import Sink
from levada.source import Source

C = TypeVar("C", bound=Connector)
Table: TypeAlias = Mapping[str, object]


def source(name: str, table: object, registry: Registry, reader: Reader) -> SourceSetup:
    """Make the source that ``[sources.NAME]`` describes.

    Raises:
        Wrong: every fault, its place relative to the table.
        PluginError: the plugin is broken.
    """
    table = _checked(name, table)
    cls: type[Source] = _class(registry.source, name, table)
    collector = Collector()
    account = collector.attempt(("account",), partial(_account, table, reader))
    made = collector.attempt((), lambda: fill(cls, table, reader, host_keys=names("source")))
    collector.settle()
    assert made is not None  # noqa: S101  # or else it had faults
    with blaming(cls):  # it is asked for its identity
        return SourceSetup.of(made, name=name, account=account)


def sink(name: str, table: object, registry: Registry, reader: Reader) -> SinkSetup:
    """Make the sink that ``[sinks.NAME]`` describes.

    Raises:
        Wrong: every fault, its place relative to the table.
        PluginError: the plugin is broken.
    """
    table = _checked(name, table)
    cls: type[Sink] = _class(registry.sink, name, table)
    collector = Collector()
    only, excluded = (
        collector.attempt((key,), partial(_globs, table.get(key, ()), reader)) or ()
        for key in ("only", "except")
    )
    made = collector.attempt((), lambda: fill(cls, table, reader, host_keys=names("sink")))
    collector.settle()
    assert made is not None  # noqa: S101  # or else it had faults
    return SinkSetup.of(made, name=name, only=only, excluded=excluded)


def _checked(name: str, table: object) -> Table:
    if not BARE_KEY.fullmatch(name):
        raise Wrong("a name is made of letters, digits, - and _")
    if not isinstance(table, Mapping):
        raise Wrong(f"expected a table, got {found(table)}")
    return table


def _class(find: Callable[[str], type[C]], name: str, table: Table) -> type[C]:
    use = table.get("use", name)
    if not isinstance(use, str):
        raise Wrong(Fault(("use",), f"expected the name of a connector, got {found(use)}"))
    try:
        return find(use)
    except ConfigError as error:
        place = ("use",) if "use" in table else ()
        raise Wrong(*(Fault(place, problem.text) for problem in error.problems)) from None


def _account(table: Table, reader: Reader) -> str | None:
    return reader.read(table["account"], str) if "account" in table else None


def _globs(value: object, reader: Reader) -> Sequence[str]:
    globs: Sequence[str] = reader.read([value] if isinstance(value, str) else value, Sequence[str])
    for index, glob in enumerate(globs):
        if not glob:
            raise Wrong(Fault((index,), "an empty pattern matches nothing"))
        if "[" in glob and "]" not in glob:
            raise Wrong(Fault((index,), '"[" without "]"'))
    return globs
