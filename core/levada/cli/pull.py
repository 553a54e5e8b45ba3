"""`levada pull`."""

from typing import Literal

import click

from levada.cli.command import Command, console_of
from levada.cli.exit_codes import ExitCode

EXAMPLES = """\
\b
Examples:
  levada pull kapso | jq .type
  levada pull stevora --set runs=run_123 --only 'llm.*' --format raw
"""


@click.command("pull", cls=Command, epilog=EXAMPLES)
@click.argument("source")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="OPTION=VALUE",
    help="Set an option of the source; `levada describe SOURCE` lists them. May be repeated.",
)
@click.option(
    "--only", multiple=True, metavar="GLOB", help="Only events of this kind or type, as run.*"
)
@click.option(
    "--except", "excluded", multiple=True, metavar="GLOB", help="None of this kind or type."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N events.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["cloudevents", "raw"]),
    default="cloudevents",
    help="A CloudEvents object on each line, or the vendor's record. On a terminal: for reading.",
)
@click.pass_context
def pull_command(
    ctx: click.Context,
    source: str,
    *,
    assignments: tuple[str, ...],
    only: tuple[str, ...],
    excluded: tuple[str, ...],
    limit: int | None,
    format_: Literal["cloudevents", "raw"],
) -> ExitCode:
    """Print all events of SOURCE on stdout.

    Needs no file and keeps no state: the next pull starts over. Keys come from the environment
    (`levada describe SOURCE` says which variable).
    """
    from levada import config
    from levada.cli import foreground, reading, setups
    from levada.host import Host
    from levada.selection import Selection
    from levada.setup import SourceSetup

    registry = setups.registry()
    cls = registry.source(source)
    options = config.assignments(cls, assignments)
    setup = SourceSetup.of(config.build(cls, options))
    sink = config.build(registry.sink("stdout"), {"format": format_})
    selection = Selection(only, excluded=excluded)
    host, console = Host(), console_of(ctx)
    work = reading.read([setup], sink, host, selection=selection, limit=limit)
    result = foreground.run(work, host, console)
    result.show(console)
    return result.code
