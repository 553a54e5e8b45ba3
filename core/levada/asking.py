"""What the host asks of a connector that cannot be awaited; see `levada.calls` for what can.

Whatever its plugin does instead of answering becomes a `PluginError` that names it, and the
distribution it came with.
"""

from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import distributions

from levada.connector import Connector
from levada.errors import ConfigError, PluginError
from levada.overdue import LIMIT_S, Overdue, time_limit


def broken(
    connector: Connector, reason: str, *, kind: type[PluginError] = PluginError
) -> PluginError:
    """Return an error that names the plugin of *connector*, and the distribution it came with."""
    return broken_class(type(connector), reason, kind=kind)


def broken_class(cls: type, reason: str, *, kind: type[PluginError] = PluginError) -> PluginError:
    """Return the same of a connector's class, of which no object could be made."""
    plugin = getattr(cls, "name", cls.__name__)
    module = cls.__module__.partition(".")[0]
    for distribution in distributions():
        with suppress(Exception):
            for point in distribution.entry_points.select(group="levada", name=plugin):
                if point.module.partition(".")[0] == module:
                    name, version = distribution.name, distribution.version
                    return kind(plugin, reason, distribution=name, version=version)
    return kind(plugin, reason)


@contextmanager
def looked_at(cls: type) -> Iterator[None]:
    """Look at what a connector's class is made of: whatever that raises becomes a `PluginError`."""
    try:
        with time_limit(LIMIT_S, partial(broken_class, cls)):
            yield
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:
        raise broken_class(cls, f"cannot be described: {type(error).__name__}") from error


def attribute_of(connector: Connector, name: str) -> object:
    """Return an attribute that the host reads.

    Raises:
        PluginError: it is a property that raises.
    """
    try:
        value: object = getattr(connector, name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise broken(connector, f"raised {type(error).__name__} from {name}") from error
    return value


def identity_of(connector: Connector) -> str:
    """Return what *connector* says it reads or writes.

    Raises:
        ConfigError: as the connector raised it.
        PluginError: it raised anything else, returned no text, or nothing within ten seconds.
    """
    try:
        with time_limit(LIMIT_S, partial(broken, connector)):
            identity: object = connector.identity()
    except (ConfigError, PluginError, KeyboardInterrupt):
        raise
    except Overdue as error:
        raise broken(connector, f"{error} to return from identity()") from error
    except BaseException as error:
        raise broken(connector, f"raised {type(error).__name__} from identity()") from error
    if isinstance(identity, str) and is_unicode(identity):
        return identity
    if isinstance(identity, Coroutine):
        identity.close()  # or else Python warns that nobody awaited it
    got = repr(identity) if isinstance(identity, str) else type(identity).__name__
    raise broken(connector, f"returned {got} from identity(); it must be Unicode text")


def is_unicode(value: object) -> bool:
    """Whether *value* is text that can be written as UTF-8: lone surrogates cannot."""
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
