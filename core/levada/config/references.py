"""Secrets by reference: where the pipeline file says they are kept."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from levada.config import paths
from levada.config.faults import Fault, Mismatch, Wrong, unknown
from levada.config.words import found
from levada.errors import ConfigError
from levada.secret import Secret

FORMS = '{ env = "NAME" }, { file = "path" } or { command = ["program", "argument"] }'

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def resolve(reference: object, *, base: Path, read: bool) -> Secret:
    """Take a secret from where *reference* says it is; files are relative to *base*.

    With `read` False the reference is only checked, and the secret is empty.
    """
    way, where = _taken_apart(reference)
    try:
        fetch = _WAYS[way](where, base)
    except Mismatch as wrong:
        raise Wrong(Fault((way,), wrong.faults[0].text)) from None
    return attempt(fetch) if read else Secret("", origin=way)


def attempt(fetch: Callable[[], Secret]) -> Secret:
    """Return what *fetch* does; turn its error into a fault."""
    try:
        return fetch()
    except ConfigError as error:
        raise Wrong(str(error)) from None


def _taken_apart(reference: object) -> tuple[str, object]:
    if isinstance(reference, str):
        raise Wrong(f"a secret must not stand in the file; refer to it: {FORMS}")
    if not isinstance(reference, Mapping):
        raise Mismatch(f"expected a reference ({FORMS}), got {found(reference)}")
    strange = [name for name in reference if name not in _WAYS]
    if strange:
        raise Wrong(*(Fault((name,), unknown("key", name, _WAYS)) for name in strange))
    if len(reference) != 1:
        raise Wrong(f"expected exactly one of {', '.join(_WAYS)}")
    way, where = next(iter(reference.items()))
    return way, where


def _env(where: object, _base: Path) -> Callable[[], Secret]:
    name = _text(where)
    if not _VARIABLE.fullmatch(name):
        # Somebody may have pasted the key itself where the variable's name belongs.
        return lambda: _unnamed(name)
    return lambda: Secret.env(name)


def _unnamed(name: str) -> Secret:
    try:
        return Secret.env(name)
    except (ConfigError, ValueError):
        raise ConfigError("the environment variable named here is not set; export it") from None


def _file(where: object, base: Path) -> Callable[[], Secret]:
    path = paths.resolve(_text(where), base)
    return lambda: Secret.file(path)


def _command(where: object, _base: Path) -> Callable[[], Secret]:
    if not isinstance(where, list | tuple):
        raise Mismatch(f"expected a list of strings, got {found(where)}")
    if not where:
        raise Mismatch("expected a list of strings, got an empty one")
    argv = [_text(each) for each in where]
    return lambda: Secret.command(argv)


def _text(where: object) -> str:
    if not isinstance(where, str):
        raise Mismatch(f"expected a string, got {found(where)}")
    if not where or "\0" in where:
        raise Mismatch("expected a string that is not empty")
    return where


_WAYS: Mapping[str, Callable[[object, Path], Callable[[], Secret]]] = {
    "env": _env,
    "file": _file,
    "command": _command,
}
