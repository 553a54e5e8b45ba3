"""`levada check`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from levada.cli.command import Command, console_of
from levada.cli.console import Console
from levada.cli.exit_codes import ExitCode, worst
from levada.cli.printing import say, say_json
from levada.cli.text import columns, count, safe

if TYPE_CHECKING:
    from levada.cli.probes import Finding
    from levada.setup import Setup


@click.command("check", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--offline", is_flag=True, help="Check the file and the environment; ask nobody.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")
@click.pass_context
def check_command(ctx: click.Context, file: Path, *, offline: bool, as_json: bool) -> ExitCode:
    """Check FILE, then ask every connector once.

    First the file itself: all problems in one go, each with its line. Then one harmless request
    to every source, and a look at where every sink writes. Nothing is written, nothing delivered.
    """
    from levada.cli import setups

    setup = setups.load(file)  # whose secrets are known, and taken out below, while it is held
    findings = _findings(setup, console_of(ctx), offline=offline)
    if as_json:
        say_json([_as_json(each) for each in findings])
    else:
        for line in columns([(_mark(each), each.name, each.text) for each in findings]):
            say(line)
    code = worst(each.code for each in findings)
    if code is ExitCode.DONE and console_of(ctx).is_terminal:
        console_of(ctx).line(safe(f"next: levada run {file}"))
    return code


def _findings(setup: "Setup", console: Console, *, offline: bool) -> "list[Finding]":
    from levada.cli import foreground
    from levada.cli.probes import Finding, host_of, limit_of, probe

    parts = (count(len(setup.sources), "source"), count(len(setup.sinks), "sink"))
    config = Finding("config", ", ".join(parts))
    if offline:
        return [config]
    host = host_of(setup)
    probes = foreground.run(probe(setup, host), host, console, silence=limit_of(host))
    return [config, *probes]


def _mark(finding: "Finding") -> str:
    return "!!" if finding.code else "ok"


def _as_json(finding: "Finding") -> dict[str, object]:
    return {
        "name": finding.name,
        "ok": not finding.code,
        "text": finding.text,
        "exit_code": int(finding.code),
    }
