"""From what the command line names to what the framework runs."""

from pathlib import Path

from levada.config import load as load_file
from levada.errors import ConfigError
from levada.plugins import Registry
from levada.setup import Setup


def load(file: Path, *, follow: bool = True, read_secrets: bool = True) -> Setup:
    """Load the pipeline file at *file*; without *follow*, no source may be one that never ends.

    Raises:
        ConfigError, PluginError: as `levada.config.load`.
    """
    setup = load_file(file, registry=Registry(), read_secrets=read_secrets)
    endless = [each.name for each in setup.sources if each.source.live]
    if endless and not follow:
        raise ConfigError(f"source '{endless[0]}' listens for ever; add --follow")
    return setup


def prints(setup: Setup) -> bool:
    """Return whether a sink of *setup* writes to standard output."""
    return any(each.sink.name == "stdout" for each in setup.sinks)
