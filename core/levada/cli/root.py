"""The command `levada`: its subcommands by name, each imported when it is asked for."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module

import click

from levada.cli.command import console_of, verbosity
from levada.cli.exit_codes import ExitCode
from levada.cli.text import safe

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Start here": {
        "demo": "demo",
        "sandbox": "sandbox",
        "pull": "pull",
        "init": "files",
        "check": "check",
    },
    "Carry events": {
        "run": "run",
        "status": "state",
        "verify": "verify",
        "dead": "dead",
        "enable": "state",
        "repair": "repair",
    },
    "Look things up": {"plugins": "connectors", "describe": "connectors", "schema": "files"},
}
"""The subcommands in the order of the help, and the module each is in."""

HOMES = {name: home for names in SECTIONS.values() for name, home in names.items()}

HELP = """\
Carry workflow-execution events to where people need them.

\b
  levada demo                          see it work; needs no account
  levada pull kapso | jq .type         events to stdout; needs no file
  levada init kapso file               write a pipeline file
  levada check pipeline.toml           see whether everything is right
  levada run pipeline.toml --follow    carry events until Ctrl-C
"""

EPILOG = """\
\b
Exit codes:
  0 done             3 plugin              6 state         75 gave up waiting
  1 bug              4 upstream refused    7 strict       130 SIGINT
  2 usage, config    5 sink stopped       74 local I/O    143 SIGTERM
"""


class Root(click.Group):
    """A group that imports a subcommand only to run it or to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names in the order of the help."""
        return list(HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a subcommand; None where there is none of that name."""
        home = HOMES.get(cmd_name)
        if home is None:
            return None
        module = import_module(f"levada.cli.{home}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; click would look for near misses only among imported ones."""
        name = args[0]
        if name not in HOMES and not name.startswith("-"):
            near = get_close_matches(name, HOMES, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"No such command '{safe(name)}'.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand. Whoever reads stdout may go away: click would call that a failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)  # Python flushes stdout once more at its end
            os.close(nowhere)
            return ExitCode.DONE

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands section by section."""
        for section, names in SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(section):
                formatter.write_dl(
                    [(name, each.get_short_help_str(70)) for name, each in commands if each]
                )


@click.group(cls=Root, help=HELP, epilog=EPILOG, context_settings={"max_content_width": 100})
@click.version_option(package_name="levada", message="%(prog)s %(version)s")
@click.pass_context
def levada(ctx: click.Context) -> None:
    """Set up what all commands share; the help is above."""
    console_of(ctx)


levada.params += verbosity()
