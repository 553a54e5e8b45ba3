"""Secrets that cannot be printed by accident, and the places they come from."""

import hmac
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Never, Self

from attrs import field, frozen

from levada.errors import ConfigError

REDACTED = "[redacted]"
COMMAND_TIMEOUT_S = 30


class Secret:
    """A value that shows itself only through `reveal()`.

    Printing, formatting, logging, comparing in a traceback: all give ``[redacted]``. Pickling and
    copying are refused. `origin` says where the value came from, in words fit for an error
    message ("environment variable KAPSO_API_KEY").
    """

    __slots__ = ("_read", "_value", "origin")

    def __init__(self, value: str, *, origin: str = "the program") -> None:
        self._value = value
        self._read: Callable[[], str] | None = None
        self.origin: str = origin

    @classmethod
    def env(cls, name: str) -> Self:
        """Take the secret from environment variable *name*.

        Raises:
            ConfigError: the variable is not set, or empty.
        """
        return cls._from(lambda: _environment(name), origin=f"environment variable {name}")

    @classmethod
    def file(cls, path: Path) -> Self:
        """Take the secret from a file, less one trailing newline.

        Raises:
            ConfigError: the file cannot be read, is empty, or others than its owner can read it.
        """
        return cls._from(lambda: _contents(path), origin=f"file {path}")

    @classmethod
    def command(cls, argv: Sequence[str]) -> Self:
        """Take the secret from what a command prints, less one trailing newline; no shell.

        Raises:
            ConfigError: the command cannot be run, fails, prints nothing or takes over 30 s.
        """
        return cls._from(lambda: _output(argv), origin=f"command {argv[0]!r}")

    @classmethod
    def _from(cls, read: Callable[[], str], *, origin: str) -> Self:
        secret = cls(read(), origin=origin)
        secret._read = read
        return secret

    def reveal(self) -> str:
        """Return the value itself. Call it only where the value leaves for its destination."""
        return self._value

    def reload(self) -> bool:
        """Read the value again from where it came; return whether it changed.

        The host calls this once after a 401, because keys get rotated. A value that can no
        longer be read counts as unchanged.
        """
        if self._read is None:
            return False
        before = self._value
        try:
            self._value = self._read()
        except ConfigError:
            return False
        return not hmac.compare_digest(before.encode(), self._value.encode())

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    # A hash would invite secrets into sets and keys.
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError("a Secret cannot be pickled or copied; pass the reference it came from")


@frozen
class ApiKey:
    """An HTTP header that carries a credential: ``ApiKey("X-API-Key", self.api_key)``."""

    header: str
    secret: Secret = field(repr=False)


def scrub(text: str, secrets: Iterable[Secret]) -> str:
    """Return *text* with every secret's value replaced, longest first."""
    values = sorted({secret.reveal() for secret in secrets}, key=len, reverse=True)
    for value in values:
        if value:
            text = text.replace(value, REDACTED)
    return text


def _environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(f"environment variable {name} is not set; export it, then run again")
    return value


def _contents(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077 and Path("/run/secrets") not in path.parents:
            raise ConfigError(f"secret file {path} can be read by others; run: chmod 600 {path}")
        value = path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"secret file {path} cannot be read: {reason}") from None
    if not value:
        raise ConfigError(f"secret file {path} is empty")
    return value


def _output(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # the operator wrote this command in the pipeline file
            argv, check=True, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"secret command {argv[0]!r} exited {error.returncode}") from None
    except (OSError, UnicodeDecodeError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"secret command {argv[0]!r}: {type(error).__name__}") from None
    value = done.stdout.removesuffix("\n")
    if not value:
        raise ConfigError(f"secret command {argv[0]!r} printed nothing")
    return value
