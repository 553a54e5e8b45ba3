"""`levada init` and `levada schema`."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from levada.cli.command import Command
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import say, say_json
from levada.cli.text import count

if TYPE_CHECKING:
    from levada.connector import Connector
    from levada.describe import Description
    from levada.plugins import Registry

HEAD = """\
#:schema levada.schema.json
# Editors check and complete this file once there is one: levada schema > levada.schema.json
# What starts with # shows the default. Durations: "250ms", "10s", "5m", "24h".
"""

TAIL = """\
# [pipeline]
# state = ".levada/{stem}"   # where the journal is; relative paths start from this file
# poll_interval = "10s"      # with --follow
"""


EXAMPLES = """\
\b
Examples:
  levada init kapso file
  levada init kapso stevora webhook stdout --output alerts.toml
"""


@click.command("init", cls=Command, epilog=EXAMPLES)
@click.argument("names", metavar="SOURCE... SINK...", nargs=-1, required=True)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("pipeline.toml"),
    show_default=True,
    help="The file to write.",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
def init_command(names: tuple[str, ...], output: Path, *, force: bool) -> ExitCode:
    """Write a pipeline file, every option in it explained.

    The connectors are sources and sinks in any order; `levada plugins` lists them.
    """
    from levada.plugins import Registry

    tables = _tables(Registry(), names)
    text = "\n".join([HEAD, *(each.toml(name) for name, each in tables), TAIL])
    _write(output, text.replace("{stem}", output.stem), force=force)
    left = [setting for name, each in tables for setting in _left(name, each)]
    todo = f"   ({count(len(left), 'setting')} left: {', '.join(left)})" if left else ""
    say(f"wrote {output}{todo}")
    say(f"next: levada check {output}")
    return ExitCode.DONE


@click.command("schema", cls=Command)
def schema_command() -> ExitCode:
    """Print the JSON Schema of pipeline files.

    It knows every connector installed here.
    Editors that know `#:schema` (VS Code with Even Better TOML, Zed, Helix with taplo) check and
    complete the file by it:  levada schema > levada.schema.json
    """
    from levada.describe import schema
    from levada.plugins import Registry

    say_json(schema(Registry()), indent=2)
    return ExitCode.DONE


def _tables(registry: "Registry", names: Sequence[str]) -> "list[tuple[str, Description]]":
    """Describe the connectors, sources first, each under a name of its own.

    A connector that is both stands for a source if it is named first, and for a sink otherwise.
    """
    from levada.describe import describe
    from levada.errors import ConfigError

    described = sorted(
        (describe(_class(registry, name, first=not i)) for i, name in enumerate(names)),
        key=lambda each: each.role == "sink",
    )
    for role in ("source", "sink"):
        if all(each.role != role for each in described):
            known = [each.name for each in registry.offers() if role in each.roles]
            raise ConfigError(f"a pipeline needs a {role}; name one of {', '.join(known)} too")
    seen: Counter[tuple[str, str]] = Counter()
    tables = []
    for each in described:
        seen[each.role, each.name] += 1
        number = seen[each.role, each.name]
        tables.append((each.name if number == 1 else f"{each.name}{number}", each))
    return tables


def _class(registry: "Registry", name: str, *, first: bool) -> "type[Connector]":
    from levada.errors import ConfigError

    ways = (registry.source, registry.sink) if first else (registry.sink, registry.source)
    try:
        return ways[0](name)
    except ConfigError:
        return ways[1](name)


def _write(output: Path, text: str, *, force: bool) -> None:
    from levada.errors import ConfigError

    if output.exists() and not force:
        raise ConfigError(f"{output} exists; choose another with --output, or replace it: --force")
    output.write_text(text, encoding="utf-8")
    output.chmod(0o644)  # unlike the state there is nothing to hide in it


def _left(name: str, described: "Description") -> list[str]:
    """Return what has to be set before the file works, and where."""
    section = f"{described.role}s.{name}"
    missing = [f"{section}.{each.name}" for each in described.options if each.required]
    unset = [
        f"${each.env}" for each in described.options if each.env and each.env not in os.environ
    ]
    return missing + unset
