"""Paths as the pipeline file writes them."""

from pathlib import Path

from levada.config.faults import Wrong


def resolve(text: str, base: Path) -> Path:
    """Return the path that *text* means in folder *base*; a ``~`` in front is the home folder."""
    if not text:
        raise Wrong("expected a path, got an empty string")
    if "\0" in text:
        raise Wrong("expected a path, got a string with a NUL in it")
    try:
        return base / Path(text).expanduser()
    except RuntimeError:  # "~somebody" where there is no such user
        raise Wrong("the home folder at its start is unknown") from None
