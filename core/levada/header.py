"""Which headers can be sent: a value is never shown, as it may be a secret."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from levada.errors import ConfigError
from levada.secret import Secret

if TYPE_CHECKING:
    from attrs import Attribute

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")
_OURS = {"host", "content-length", "transfer-encoding", "connection"}
_UNFIT = "holds a character that HTTP does not allow, perhaps a line end or a space at its end"


def check_header(name: str, value: str, *, source: str = "") -> None:
    """Check that a request can carry this header; *source* says where the value is from.

    Raises:
        ConfigError: without the value.
    """
    # httpx and h11 would refuse as well, but print the value.
    if not _NAME.fullmatch(name) or name.lower() in _OURS:
        raise ConfigError(f"{name!r} cannot be set as a header")
    if not _VALUE.fullmatch(value):
        raise ConfigError(f"the value of header {name}{source} {_UNFIT}")


def valid_headers(_instance: Any, _attribute: "Attribute[Any]", value: Mapping[str, str]) -> None:
    """Check an `option` that is a table of headers to send; a validator.

    It refuses what `HttpClient` would refuse: a name that is no header's or that every request
    has of its own, and a value with a line end or beyond ASCII. The value is not shown.
    """
    for name, each in value.items():
        check_header(name, each)


def valid_header_value(_instance: Any, _attribute: "Attribute[Any]", value: Secret | None) -> None:
    """Check an `option` that is a `Secret` to be sent in a header, as `ApiKey` does; a validator.

    It refuses one with a line end or beyond ASCII, and says where it is from.
    """
    if value is not None and not _VALUE.fullmatch(value.reveal()):
        raise ConfigError(f"the secret from {value.origin} {_UNFIT}; correct it there")
