"""Secrets that cannot be printed by accident, and the places they come from."""

import base64
import hmac
import html
import json
import os
import re
import stat
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from subprocess import CalledProcessError, TimeoutExpired
from typing import Any, ClassVar, Never, Self
from urllib.parse import quote, quote_plus
from weakref import WeakValueDictionary

from attrs import field, frozen

from levada.command import TooMuch, output_of
from levada.errors import ConfigError

REDACTED = "[redacted]"
COMMAND_TIMEOUT_S = 30

LONGEST = 64 * 1024
"""Bytes of a secret: whatever is longer is something else."""

FINDABLE = 8
"""Shorter values stand in ordinary words too: `scrub_known` leaves them alone."""

_HEX = re.compile(r"(?<=%)[0-9A-F]{2}|(?<=\\u)[0-9A-F]{4}")
_URL_SAFE = str.maketrans("+/", "-_")

# Every secret there is, for what writes text that nobody could check beforehand. Weak: whoever
# holds a secret decides how long it lives.
_KNOWN: "WeakValueDictionary[int, Secret]" = WeakValueDictionary()


class Secret:
    """A value that shows itself only through `reveal()`.

    Printing, formatting, logging, comparing in a traceback: all give ``[redacted]``. Pickling and
    copying are refused. `origin` says where the value came from, in words fit for an error
    message ("environment variable KAPSO_API_KEY").
    """

    __slots__ = ("__weakref__", "_forms", "_past", "_read", "_value", "origin")

    def __init__(self, value: str, *, origin: str = "the program") -> None:
        self._value = value
        self._past = ""
        self._forms: dict[str, Sequence[str]] = {}
        self._read: Callable[[], str] | None = None
        self.origin: str = origin
        _KNOWN[id(self)] = self

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
            ConfigError: it is no regular file, cannot be read, is empty or longer than 64 KiB, or
                others than its owner can read it.
        """
        return cls._from(lambda: _contents(path), origin=f"file {path}")

    @classmethod
    def command(cls, argv: Sequence[str]) -> Self:
        """Take the secret from what a command prints, less one trailing newline; no shell.

        Raises:
            ConfigError: the command cannot be run, fails, prints nothing or over 64 KiB, or takes
                over 30 s. Then it is killed.
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
        if hmac.compare_digest(_bytes(before), _bytes(self._value)):
            return False
        self._past = before
        self._forms = {}
        return True

    def _found_as(self, shortest: int) -> Iterator[str]:
        """Return all that may stand for the value and for the one before it."""
        made = self._forms  # which another thread may replace
        for value in (self._value, self._past):
            if len(value) >= shortest:
                if value not in made:
                    made[value] = tuple(_forms(value))
                yield from made[value]

    def scrub(self, text: str) -> str:
        """Return *text* without the value and the one before it, raw, quoted, escaped or in Base64.

        For text that somebody else wrote, such as the answer of a server that was sent the value.
        """
        return scrub(text, [self])

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(REDACTED, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._value), _bytes(other._value))

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
    """Return *text* with every secret's value replaced, in whatever form, longest first."""
    return _without(text, secrets, shortest=1)


def scrub_known(text: str) -> str:
    """Return *text* without the value of any `Secret` there is that has 8 characters or more.

    The second line of defence: nothing should put a secret there in the first place.
    """
    known = [secret for each in _KNOWN.valuerefs() if (secret := each()) is not None]
    return _without(text, known, shortest=FINDABLE)


def scrub_json(value: Any) -> Any:
    """Do the same with all texts in a JSON value, names included."""
    match value:
        case str():
            return scrub_known(value)
        case dict():
            return {scrub_json(name): scrub_json(each) for name, each in value.items()}
        case list() | tuple():
            return [scrub_json(each) for each in value]
        case _:
            return value


def _without(text: str, secrets: Iterable[Secret], *, shortest: int) -> str:
    forms = {form for secret in secrets for form in secret._found_as(shortest)}  # noqa: SLF001  # our own
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, REDACTED)
    return text


def _forms(value: str) -> Iterator[str]:
    """Return the ways in which programs write a string into another one."""
    yield from (value, value.replace("/", r"\/"))
    for ascii_only in (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield from (escaped, escaped.replace("/", r"\/"), json.dumps(escaped)[1:-1])
    yield from (repr(value)[1:-1], ascii(value)[1:-1])
    entities = html.escape(value)  # &quot; and &#x27;
    yield from (entities, entities.replace("&#x27;", "&#39;"), entities.replace("&#x27;", "&apos;"))
    raw = _bytes(value)
    yield "".join(f"&#{ord(character)};" for character in value)
    hexadecimal = "".join(f"&#x{ord(character):X};" for character in value)
    yield from (hexadecimal, hexadecimal.lower())
    quoted = {quote(raw), quote(raw, safe=""), quote_plus(raw), quote(quote(raw, safe=""))}
    whole = "".join(f"\\u{unit:04X}" for unit in _utf16(value))
    for each in (*quoted, "".join(f"%{byte:02X}" for byte in raw), whole):
        yield from (each, _HEX.sub(lambda match: match[0].lower(), each))
    if len(raw) >= FINDABLE:  # less would be found in anything
        yield from (value.lower(), value.upper())  # a name of a host, say, has no case
        for hexadecimal in (raw.hex(), raw.hex().upper()):
            yield "".join(rf"\x{hexadecimal[at : at + 2]}" for at in range(0, len(hexadecimal), 2))
        for each in (raw.hex(), raw.hex(":"), raw.hex(" "), raw.hex("-")):
            yield from (each, each.upper())
        yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterator[str]:
    """Return what is always the same in the Base64 of *raw*, whatever stands around it."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + raw).decode("ascii")
        certain = whole[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        yield from (certain, certain.translate(_URL_SAFE))


def _utf16(value: str) -> Iterator[int]:
    """Return the units that JSON writes a text in where it escapes every character."""
    for (unit,) in struct.iter_unpack(">H", value.encode("utf-16-be", "surrogatepass")):
        yield unit


def _bytes(value: str) -> bytes:
    # An environment variable may hold bytes that are not UTF-8: they come as lone surrogates.
    return value.encode("utf-8", "surrogatepass")


def _environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(f"environment variable {name} is not set; export it, then run again")
    return value


def _contents(path: Path) -> str:
    try:
        value = _text(_read(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"secret file {path} cannot be read: {reason}") from None
    if not value:
        raise ConfigError(f"secret file {path} is empty")
    return value


def _read(path: Path) -> bytes:
    with open(path, "rb", opener=_unwaiting) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"secret file {path} is not a regular file; name one")
        if mode & 0o077 and Path("/run/secrets") not in path.parents:
            raise ConfigError(f"secret file {path} can be read by others; run: chmod 600 {path}")
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise ConfigError(f"secret file {path} has more than {LONGEST} bytes; is it the right one?")
    return content


def _unwaiting(path: str, flags: int) -> int:
    # Opening a pipe would wait for somebody who writes to it.
    return os.open(path, flags | os.O_NONBLOCK)


def _output(argv: Sequence[str]) -> str:
    name = f"secret command {argv[0]!r}"
    try:
        value = _text(output_of(argv, limit=LONGEST, timeout_s=COMMAND_TIMEOUT_S))
    except CalledProcessError as error:
        raise ConfigError(f"{name} exited {error.returncode}") from None
    except TimeoutExpired:
        raise ConfigError(f"{name} took more than {COMMAND_TIMEOUT_S} s; run it by hand") from None
    except TooMuch:
        raise ConfigError(f"{name} printed more than {LONGEST} bytes; run it by hand") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}: {type(error).__name__}") from None
    if not value:
        raise ConfigError(f"{name} printed nothing")
    return value


def _text(content: bytes) -> str:
    """Return *content* less one line end, of whatever kind."""
    return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
