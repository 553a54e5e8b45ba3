"""Which connectors are installed, and how one is loaded.

Everything is found in the metadata of installed distributions: entry-point group ``levada``, the
entry point's name is the connector's. A plugin is imported when one of its connectors is asked
for by name; whatever it does then, short of killing the process, becomes a `PluginError`.
"""

import importlib
import os
import re
import sys
import traceback
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import EntryPoint, distributions
from itertools import chain
from typing import Literal, Never, TypeAlias

import attrs
import pluggy
from attrs import frozen

from levada import hookspecs, overdue
from levada.connector import API_VERSION, Connector
from levada.errors import ConfigError, PluginError
from levada.overdue import LIMIT_S, time_limit
from levada.sink import Sink
from levada.source import Source

BUILT_IN = "levada"  # our own distribution
DISABLE = "LEVADA_DISABLE_PLUGINS"
HOST_KEYS = frozenset({"use", "only", "except", "account"})  # a connector may not declare them

Role: TypeAlias = Literal["source", "sink"]
_Class: TypeAlias = type[Connector]


@frozen
class Offer:
    """One entry point, as `levada plugins` shows it; without roles, `error` says why."""

    name: str
    roles: Sequence[Role]
    distribution: str
    version: str
    error: str | None = None


class Registry:
    """The connectors installed in this environment.

    Installed distributions are looked through once, when the first question is asked; a plugin
    is imported once, when it is first needed, and one that failed stays failed. An import that
    hangs is given up after *import_timeout*, but in the main thread only.

    Environment variable ``LEVADA_DISABLE_PLUGINS`` names connectors or distributions to leave
    out, with commas between them; ``*`` stands for all but the built-in ones.
    """

    def __init__(self, *, import_timeout: timedelta = timedelta(seconds=LIMIT_S)) -> None:
        self._timeout_s = import_timeout.total_seconds()
        self._loaded: dict[str, Sequence[_Class]] = {}
        self._failed: dict[str, PluginError] = {}

    def names(self) -> list[str]:
        """Return the name of every connector that is not disabled, sorted; imports nothing."""
        return sorted({entry.name for entry in self._entries if not entry.disabled})

    def source(self, name: str) -> type[Source]:
        """Return the source called *name*, imported and checked.

        Where two distributions offer a name, ``distribution:name`` says which.

        Raises:
            ConfigError: no source has that name.
            PluginError: its plugin cannot be loaded, or two distributions offer the name.
        """
        for cls in self._load(name):
            if issubclass(cls, Source):
                return cls
        raise ConfigError(f"connector '{name}' is a sink, not a source; move it under [sinks]")

    def sink(self, name: str) -> type[Sink]:
        """Return the sink called *name*; raises as `source` does."""
        for cls in self._load(name):
            if issubclass(cls, Sink):
                return cls
        raise ConfigError(f"connector '{name}' is a source, not a sink; move it under [sources]")

    def offers(self) -> list[Offer]:
        """Import every plugin, and return what each offers or why it cannot be used."""
        return [self._offer(entry) for entry in self._entries]

    @cached_property
    def _entries(self) -> Sequence["_Entry"]:
        found: dict[str, list[_Entry]] = {}
        for distribution in distributions():
            # importlib.metadata.entry_points() would give up on all when one package is damaged.
            with suppress(Exception):
                points = distribution.entry_points.select(group="levada")
                if points:  # of two copies the first on sys.path counts, as it does for imports
                    package = distribution.name, distribution.version
                    found.setdefault(_canonical(package[0]), [_Entry(it, package) for it in points])
        return sorted(chain(*found.values()), key=lambda entry: (entry.name, str(entry.package)))

    def _load(self, name: str) -> Sequence[_Class]:
        entry = self._find(name)
        if name in self._failed:
            raise self._failed[name]
        if name not in self._loaded:
            try:
                self._loaded[name] = _load(entry, self._timeout_s)
            except PluginError as error:
                self._failed[name] = error
                raise
        return self._loaded[name]

    def _find(self, name: str) -> "_Entry":
        package, _, short = name.rpartition(":")
        of_package = (it for it in self._entries if not package or it.is_of(package))
        entries = [entry for entry in of_package if entry.name == short]
        enabled = [entry for entry in entries if not entry.disabled]
        if len(enabled) > 1:
            raise _offered_twice(enabled)
        if enabled:
            return enabled[0]
        if entries:
            raise ConfigError(f"connector '{name}' is disabled by {DISABLE}; take it out of there")
        raise ConfigError(_unknown(name, self.names(), failed=list(self._failed)))

    def _offer(self, entry: "_Entry") -> Offer:
        if entry.disabled:
            return Offer(entry.name, (), *entry.package, f"is disabled by {DISABLE}")
        try:
            classes = self._load(entry.name)
        except PluginError as error:
            return Offer(entry.name, (), *entry.package, error.reason)
        return Offer(entry.name, [_role(cls) for cls in classes], *entry.package)


@frozen
class _Entry:
    """An entry point, and the name and version of the distribution it came with."""

    point: EntryPoint
    package: tuple[str, str]

    @property
    def name(self) -> str:
        return self.point.name

    @property
    def disabled(self) -> bool:
        off = {_canonical(name) for name in os.environ.get(DISABLE, "").split(",")}
        names = {_canonical(self.name), _canonical(self.package[0])}
        return bool(off & names) or ("*" in off and self.package[0] != BUILT_IN)

    def is_of(self, distribution: str) -> bool:
        return _canonical(self.package[0]) == _canonical(distribution)

    def broken(self, reason: str) -> PluginError:
        name, version = self.package
        return PluginError(self.name, reason, distribution=name, version=version)

    def refuse(self, reason: str, cause: BaseException | None = None) -> Never:
        raise self.broken(reason) from cause


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _offered_twice(entries: Sequence[_Entry]) -> PluginError:
    packages = " and ".join(" ".join(filter(None, entry.package)) for entry in entries)
    name = f"{entries[0].package[0]}:{entries[0].name}"
    way_out = f"say which, as in '{name}', uninstall one of them, or name it in {DISABLE}"
    return PluginError(entries[0].name, f"is offered by {packages}; {way_out}")


def _unknown(name: str, names: Sequence[str], *, failed: Sequence[str]) -> str:
    parts = [f"installed: {', '.join(names) or 'none'}"]
    if failed:
        parts.append(f"failed to load: {', '.join(failed)}")
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        parts.append(f"if a package offers it: pip install levada-{name}")
    hint = _did_you_mean(name, names)
    return f"no connector is named '{name}'{hint} ({'; '.join(parts)})"


def _did_you_mean(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name.lower(), names, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _load(entry: _Entry, timeout_s: float) -> Sequence[_Class]:
    """Return the classes named as the entry point: a source, a sink, or one of each."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    with _contained(entry, timeout_s):
        _register(entry, manager)
        sources = _offered(entry, Source, manager.hook.event_sources)
        sinks = _offered(entry, Sink, manager.hook.event_sinks)
        return _chosen(entry, [*sources, *sinks])  # a class may run code when it is looked at


def _chosen(entry: _Entry, offered: Sequence[_Class]) -> Sequence[_Class]:
    """Return those of the entry point's name, once they are seen to be fit."""
    named = [cls for cls in offered if cls.name == entry.name]
    if not named:
        names = " and ".join(repr(cls.name) for cls in offered) or "nothing"
        entry.refuse(f"offers {names}; let a hook return a class whose name is '{entry.name}'")
    if len({_role(cls) for cls in named}) < len(named):
        entry.refuse(f"offers '{entry.name}' twice; keep one class of that name")
    for cls in named:
        _check(entry, cls)
    return named


@contextmanager
def _contained(entry: _Entry, timeout_s: float) -> Iterator[None]:
    """Turn whatever the plugin raises into a `PluginError`; what it prints goes to stderr."""
    try:
        limit = time_limit(timeout_s, entry.broken)
        with redirect_stdout(sys.stderr), _descriptor_1_led_to_stderr(), limit:
            yield
    except (KeyboardInterrupt, PluginError):
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit and worse must not end the host
        entry.refuse(f"did not load: {_last_line(error)}", error)


@contextmanager
def _descriptor_1_led_to_stderr() -> Iterator[None]:
    """Catch what goes past `sys.stdout`: a library in C, a program that is started.

    Only where descriptor 1 is what Python prints to: else it is none of our business.
    """
    try:
        saved = os.dup(1) if sys.__stdout__ and sys.__stdout__.fileno() == 1 else None
    except (OSError, ValueError):  # standard output is closed
        saved = None
    if saved is None:
        yield
        return
    try:
        with suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _last_line(error: BaseException) -> str:
    """Return what the traceback ends with, and the line of code it blames."""
    seen = traceback.TracebackException.from_exception(error, lookup_lines=False)
    message = ([line.strip() for line in str(seen).splitlines() if line.strip()] or [""])[-1]
    text = ": ".join(filter(None, (type(error).__name__.lstrip("_"), message)))
    ours = (__file__, overdue.__file__, "<frozen importlib", *importlib.__path__)
    foreign = [at for at in seen.stack if not at.filename.startswith(ours)]
    return text + (f" ({foreign[-1].filename}:{foreign[-1].lineno})" if foreign else "")


def _register(entry: _Entry, manager: pluggy.PluginManager) -> None:
    plugin = entry.point.load()
    try:
        manager.register(plugin, entry.name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        hooks = manager.get_hookcallers(plugin) or ()
        for name in [hook.name for hook in hooks if not hook.has_spec()]:
            hint = _did_you_mean(name, ("event_sources", "event_sinks"))
            entry.refuse(f"implements '{name}', which is no hook of Levada{hint}", error)
        entry.refuse(f"implements a hook wrongly: {' '.join(str(error).split())}", error)


def _offered(entry: _Entry, base: _Class, hook: pluggy.HookCaller) -> Sequence[_Class]:
    """Call one hook of this plugin alone, and see that it returned named classes of its kind."""
    offered: list[_Class] = []
    for result in hook():
        if isinstance(result, Coroutine):
            result.close()
        if not isinstance(result, Iterable) or isinstance(result, str):
            entry.refuse(_broke(hook, result, f"an iterable of {base.__name__} classes"))
        for cls in result:
            if not (isinstance(cls, type) and issubclass(cls, base)):
                entry.refuse(_broke(hook, cls, f"a subclass of levada.{base.__name__}"))
            if not isinstance(getattr(cls, "name", None), str):
                entry.refuse(f'offers {cls.__name__}, which has no name; add: name = "..."')
            offered.append(cls)
    return offered


def _broke(hook: pluggy.HookCaller, got: object, expected: str) -> str:
    kind = got.__name__ if isinstance(got, type) else f"a value of type {type(got).__name__}"
    return f"broke hook {hook.name}: got {kind}, expected {expected}"


def _check(entry: _Entry, cls: _Class) -> None:
    if "__attrs_attrs__" not in vars(cls):
        entry.refuse(f"offers {cls.__name__}, which lacks its decorator; add: @attrs.define")
    if cls.api_version != API_VERSION:
        entry.refuse(
            f"is written for version {cls.api_version!r} of the plugin API, and this Levada has"
            f" version {API_VERSION}; install a version of either that fits the other"
        )
    keys = HOST_KEYS & {key for it in attrs.fields(cls) if it.init for key in (it.name, it.alias)}
    if keys:
        entry.refuse(f"declares option '{min(keys)}', which is the host's key; rename it")
    method = "read" if _role(cls) == "source" else "write"
    if getattr(cls, method) in (Source.read, Sink.write):
        entry.refuse(f"offers {cls.__name__}, which does not define {method}()")


def _role(cls: _Class) -> Role:
    return "source" if issubclass(cls, Source) else "sink"
