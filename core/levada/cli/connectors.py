"""`levada plugins` and `levada describe`."""

from typing import TYPE_CHECKING

import click

from levada.cli import output
from levada.cli.command import Command
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import say, say_json, say_raw
from levada.cli.text import columns, safe

if TYPE_CHECKING:
    from levada.connector import Connector
    from levada.describe import Description, OptionDescription
    from levada.plugins import Registry


@click.command("plugins", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")
def plugins_command(*, as_json: bool) -> ExitCode:
    """List the connectors installed here.

    A plugin that cannot be loaded is listed with the reason; it stops nothing until a pipeline
    uses it. LEVADA_DISABLE_PLUGINS names connectors or distributions to leave out.
    """
    import attrs

    from levada.plugins import Registry

    offers = Registry().offers()
    if as_json:
        say_json([attrs.asdict(each) for each in offers])
        return ExitCode.DONE
    table = [("connector", "role", "from", "version")]
    table += [
        (each.name, " and ".join(each.roles) or "unusable", each.distribution, each.version)
        for each in offers
    ]
    for line in columns(table):
        say(line)
    for each in offers:
        if each.error:
            say(f"!!  {each.name} {each.error}")
    return ExitCode.DONE


@click.command("describe", cls=Command)
@click.argument("connector")
@click.option("--json", "style", flag_value="json", help="Print the description as JSON.")
@click.option("--schema", "style", flag_value="schema", help="Print the JSON Schema of its table.")
@click.option("--toml", "style", flag_value="toml", help="Print a table to start from.")
def describe_command(connector: str, style: str | None) -> ExitCode:
    """Show what CONNECTOR is for, its options and what it guarantees."""
    from levada.describe import describe
    from levada.plugins import Registry

    descriptions = [describe(cls) for cls in _classes(Registry(), connector)]
    if style == "json":
        say_json(_one_or_all([each.json() for each in descriptions]))
    elif style == "schema":
        say_json(_one_or_all([each.schema for each in descriptions]), indent=2)
    elif style == "toml":
        for line in "\n".join(each.toml() for each in descriptions).splitlines():
            say(line)
    else:
        say_raw("\n\n".join(map(_text, descriptions)))
    return ExitCode.DONE


def _classes(registry: "Registry", name: str) -> "list[type[Connector]]":
    """Return the source, the sink or both that *name* stands for."""
    from levada.errors import ConfigError

    found: list[type[Connector]] = []
    missing: list[ConfigError] = []
    for find in (registry.source, registry.sink):
        try:
            found.append(find(name))
        except ConfigError as error:
            missing.append(error)
    if not found:
        raise missing[0]
    return found


def _one_or_all(several: list[dict[str, object]]) -> object:
    """Return one thing as itself, and two (a name that is source and sink) as an array."""
    return several[0] if len(several) == 1 else several


def _text(described: "Description") -> str:
    formatter = click.HelpFormatter(width=min(100, output.width()))
    formatter.write_text(safe(f"{described.name}: a {described.role}. {described.summary}"))
    if described.guarantee:
        formatter.write_text(safe(f"Guarantee: {described.guarantee}."))
    if described.live:
        formatter.write_text("It listens for ever: `levada run` needs --follow.")
    options = (*described.options, *described.host_options)
    with formatter.section("Options"):
        formatter.write_dl([(safe(each.name), safe(_explained(each))) for each in options])
    formatter.write_paragraph()
    formatter.write_text(f"Start from: levada describe {safe(described.name)} --toml")
    return formatter.getvalue().rstrip()


def _explained(option: "OptionDescription") -> str:
    facts = [option.type, *(f"must {limit}" for limit in option.limits)]
    if option.env:
        facts.append(f"default: from ${option.env}")
    elif option.required:
        facts.append("required")
    elif option.default is not None:
        facts.append(f"default: {option.default}")
    return f"{option.help}  [{'; '.join(facts)}]".strip()
