"""What commands print on standard output: no secret, and nothing that a terminal might act on.

Most of it was written by others: vendors, receivers, plugins.
"""

import json
import re
import sys
from typing import Any, TypeVar

import click

from levada.cli import output
from levada.cli.text import safe

T = TypeVar("T")

# JSON escapes C0 itself. The rest of what `safe` escapes can only stand in its strings.
_UNSAFE = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def say(text: str) -> None:
    """Print one line."""
    _echo(safe(scrubbed(text)))


def say_json(value: Any, *, indent: int | None = None, err: bool = False) -> None:
    """Print *value* as JSON: one line, unless there is an *indent*."""
    text = json.dumps(scrubbed(value), indent=indent, ensure_ascii=False)
    _echo(_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text), err=err)


def say_raw(text: str) -> None:
    """Print what is ours alone, or has been made safe before, as it is."""
    _echo(text)


def _echo(text: str, *, err: bool = False) -> None:
    try:
        if err:
            click.echo(text, err=True)
        else:
            output.write(text)
    except OSError as error:
        error.filename = f"standard {'error' if err else 'output'}"
        raise


def scrubbed(value: T) -> T:
    """Take secrets out of a text, or of all that is in a JSON value."""
    # Where the module was not imported there is no secret, and `levada --help` stays quick.
    module = sys.modules.get("levada.secret")
    found: T = module.scrub_json(value) if module else value
    return found
