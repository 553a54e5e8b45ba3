"""From what the command line names to what the framework runs."""

from pathlib import Path

from levada.asking import attribute_of
from levada.cli import output
from levada.config import load as load_file
from levada.errors import ConfigError
from levada.plugins import Registry
from levada.setup import Setup
from levada.sink import Sink, SinkContext


def registry() -> Registry:
    """Return the connectors installed here, of which the one that prints gets to standard output."""
    return _Registry()


def load(file: Path, *, follow: bool = True, read_secrets: bool = True) -> Setup:
    """Load the pipeline file at *file*; without *follow*, no source may be one that never ends.

    Raises:
        ConfigError, PluginError: as `levada.config.load`.
    """
    setup = load_file(file, registry=registry(), read_secrets=read_secrets)
    endless = [each.name for each in setup.sources if attribute_of(each.source, "live")]
    if endless and not follow:
        raise ConfigError(f"source '{endless[0]}' listens for ever; add --follow")
    return setup


def hint(setup: Setup, text: str) -> tuple[str, str]:
    """Read ``ID``, or ``SOURCE=ID`` where there are several sources: the source and the partition.

    Raises:
        ConfigError: there is no such source, or *text* does not say which source or partition.
    """
    names = [each.name for each in setup.sources]
    source, separator, partition = text.partition("=")
    if not (partition if separator else text):
        raise ConfigError("--execution needs the id of an execution, or of a run")
    if separator and source in names:
        return source, partition
    if len(names) == 1:
        return names[0], text
    if separator:
        raise ConfigError(f"there is no source '{source}'; the sources: {', '.join(names)}")
    raise ConfigError(f"which source is {text!r} of? Put its name before it: {names[0]}={text}")


class _Registry(Registry):
    def sink(self, name: str) -> type[Sink]:
        """Return the sink called *name*."""
        cls = super().sink(name)
        return _printing(cls) if cls.name == "stdout" else cls


def _printing(cls: type[Sink]) -> type[Sink]:
    """Let the sink that takes descriptor 1 find standard output there, and nobody else."""

    async def open_(self: Sink, ctx: SinkContext) -> None:
        with output.lent():
            await cls.open(self, ctx)

    async def close(self: Sink) -> None:
        try:
            await cls.close(self)
        finally:
            output.lead_to_stderr()  # the sink has given back what it took

    body = {"__slots__": (), "__module__": cls.__module__, "__doc__": cls.__doc__}
    return type(cls.__name__, (cls,), {**body, "open": open_, "close": close})


def prints(setup: Setup) -> bool:
    """Return whether a sink of *setup* writes to standard output."""
    return any(each.sink.name == "stdout" for each in setup.sinks)
