"""The pipeline file as it was found: parsed, with the line of everything in it."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from levada.config.faults import Fault, closest, dotted
from levada.config.locations import Locations
from levada.errors import ConfigError, Problem

MOST_BYTES: Final = 4 * 1024 * 1024

_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@frozen
class Document:
    """One parsed TOML file."""

    file: str
    """The path as it was given, for messages."""

    tables: Mapping[str, object]
    locations: Locations

    def problem(self, fault: Fault) -> Problem:
        """Say where in the file *fault* is."""
        return Problem(
            fault.text,
            path=dotted(fault.place),
            file=self.file,
            line=self.locations.line(fault.place),
        )


def read(path: Path) -> Document:
    """Read and parse the file at *path*.

    Raises:
        ConfigError: it is not there, cannot be read, or is not TOML in UTF-8.
    """
    text = _text(path)
    try:
        return Document(str(path), tomllib.loads(text), Locations(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_problem(str(error), file=str(path), text=text)) from None
    except RecursionError:
        raise ConfigError(f"File {path} nests its values too deeply") from None
    except ValueError:  # of `int`
        raise ConfigError(f"File {path} has a number of more than 4300 digits") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:  # a device, say
            raise ConfigError(f"File {path} is longer than {MOST_BYTES} bytes, so no pipeline file")
        # Editors on Windows put a byte order mark in front, which tomllib takes for a key.
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise ConfigError(f"File {path} does not exist{_nearest(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"File {path} is a folder; name a pipeline file in it") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = Problem("not UTF-8 text; save the file as UTF-8", file=str(path), line=line)
        raise ConfigError(problem) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not a path"
        raise ConfigError(f"File {path} cannot be read: {reason}") from None


def _nearest(path: Path) -> str:
    try:
        beside = [each.name for each in path.parent.glob("*.toml")]
    except OSError:
        beside = []
    nearest = closest(path.name, beside) or (beside[0] if len(beside) == 1 else None)
    return f"; did you mean {path.parent / nearest}?" if nearest else ""


def _syntax_problem(message: str, *, file: str, text: str) -> Problem:
    position = _POSITION.search(message)
    what = message[: position.start()] if position else message
    if position is None or position[1] is None:
        return Problem(f"{what} at the end of the file", file=file, line=text.count("\n") + 1)
    return Problem(f"{what} (column {position[2]})", file=file, line=int(position[1]))
