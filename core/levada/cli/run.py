"""`levada run`."""

from pathlib import Path

import click

from levada.cli.command import Command, console_of
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import say_json


@click.command("run", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--follow", is_flag=True, help="Go on for ever, until Ctrl-C or SIGTERM.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would be carried, from the very beginning; write nothing, move no position."
    " Goes with --limit and --json only.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop reading after the batch that reaches N new events.",
)
@click.option(
    "--execution",
    "--run",
    "hints",
    multiple=True,
    metavar="[SOURCE=]ID",
    help="Read this execution, or run, in the first pass, whatever its list shows. May be repeated.",
)
@click.option("--strict", is_flag=True, help="Exit with 7 if new dead letters came up.")
@click.option(
    "--accept-identity-change",
    is_flag=True,
    help="Let connectors go on elsewhere under the names they have.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the report as one JSON object: on stdout, or on stderr if events go to stdout.",
)
@click.pass_context
def run_command(
    ctx: click.Context,
    file: Path,
    *,
    follow: bool,
    dry_run: bool,
    limit: int | None,
    hints: tuple[str, ...],
    strict: bool,
    accept_identity_change: bool,
    as_json: bool,
) -> ExitCode:
    """Carry events until all is delivered, or for ever.

    Ctrl-C and SIGTERM end it cleanly; a second one ends it at once. Both are safe, and so is a
    crash: the same command goes on where it stopped.
    """
    from levada.cli import carrying, exit_codes, reading, setups, summary

    if dry_run and (follow or hints or strict or accept_identity_change):
        raise click.UsageError("--dry-run goes with --limit and --json only.")
    setup = setups.load(file, follow=follow or dry_run)
    console = console_of(ctx)
    if dry_run:
        return reading.dry_run(setup, console, limit=limit, as_json=as_json)
    wanted = [setups.hint(setup, each) for each in hints]
    report = carrying.carry(
        setup,
        console,
        follow=follow,
        limit=limit,
        hints=wanted,
        accept_identity_change=accept_identity_change,
        quiet=as_json,
    )
    if as_json:
        say_json(summary.as_json(report, strict=strict), err=setups.prints(setup))
    else:
        summary.show(report, console, file=str(file))
    return exit_codes.of_report(report, strict=strict)
