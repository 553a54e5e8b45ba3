"""Load a pipeline file: every problem in one run, or else a `Setup`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from levada.config import document, tables
from levada.config.faults import Collector, Fault, closest, unknown
from levada.config.filling import fill
from levada.config.values import Reader, Surroundings
from levada.config.words import found
from levada.errors import ConfigError, PluginError
from levada.plugins import Registry
from levada.setup import Settings, Setup

T = TypeVar("T")

SECTIONS = ("sources", "sinks", "pipeline")


def load(path: Path, *, registry: Registry | None = None, read_secrets: bool = True) -> Setup:
    """Read the pipeline file at *path*; imports the plugins it names, and no others.

    Without a registry of one's own the installed plugins are looked up afresh. Relative paths in the file start from its folder, and come out absolute. With `read_secrets`
    False nothing is asked of environment, files or commands and every secret is empty, which
    is enough for whatever talks to nobody: status, dead letters, tail.

    Raises:
        ConfigError: with every problem there is, sorted by line. A broken plugin is among them:
            whoever mends the file wants to know it all.
        PluginError: a plugin is broken, and nothing else is wrong.
    """
    file = document.read(path)
    reader = Reader(Surroundings(path.absolute().parent, read_secrets=read_secrets))
    return _Loading(file, registry or Registry(), reader).setup(path)


class _Loading:
    """One run over one file; collects what is wrong until the end."""

    def __init__(self, file: document.Document, registry: Registry, reader: Reader) -> None:
        self._file = file
        self._registry = registry
        self._reader = reader
        self._wrong = Collector()
        self._broken: list[tuple[Fault, PluginError]] = []

    def setup(self, path: Path) -> Setup:
        self._check_names()
        sources = self._connectors("sources", tables.source)
        sinks = self._connectors("sinks", tables.sink)
        settings = self._wrong.attempt(("pipeline",), partial(self._settings, path.stem))
        self._settle()
        return Setup(sources, sinks, settings or Settings(), path.absolute())

    def _check_names(self) -> None:
        for name, content in self._file.tables.items():
            if name not in SECTIONS:
                what = "table" if isinstance(content, Mapping) else "key"
                self._wrong.note((name,), unknown(what, name, SECTIONS))

    def _connectors(
        self, section: str, make: Callable[[str, object, Registry, Reader], T]
    ) -> Sequence[T]:
        made = []
        for name, table in self._section(section).items():
            work = partial(make, name, table, self._registry, self._reader)
            try:
                made.append(self._wrong.attempt((section, name), work))
            except PluginError as error:
                self._broken.append((Fault((section, name), str(error)), error))
        return [each for each in made if each is not None]

    def _section(self, section: str) -> Mapping[str, object]:
        content = self._file.tables.get(section, {})
        if not isinstance(content, Mapping):
            text = f"expected tables named [{section}.NAME], got {found(content)}"
            self._wrong.note((section,), text)
            return {}
        misspelt = any(closest(name, SECTIONS) == section for name in self._file.tables)
        if not content and (section in self._file.tables or not misspelt):
            self._wrong.note((section,), f"missing; add a table named [{section}.NAME]")
        return content

    def _settings(self, stem: str) -> Settings:
        table = self._file.tables.get("pipeline", {})
        if not isinstance(table, Mapping):
            self._wrong.note(("pipeline",), f"expected a table, got {found(table)}")
            return Settings()
        return fill(Settings, {"state": f".levada/{stem}", **table}, self._reader)

    def _settle(self) -> None:
        errors = [error for _, error in self._broken]
        if errors and not self._wrong.faults:
            for other in errors[1:]:
                errors[0].add_note(str(other))
            raise errors[0]
        faults = [*self._wrong.faults, *(fault for fault, _ in self._broken)]
        if faults:
            problems = map(self._file.problem, faults)
            raise ConfigError(*sorted(problems, key=lambda problem: problem.line or 0))
