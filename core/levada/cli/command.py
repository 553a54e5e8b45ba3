"""What every command has in common: how much it says, and where it says it."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import click

from levada.cli import logs, output
from levada.cli.console import Console


class Command(click.Command):
    """A command that takes --debug and --verbose too: people add them at the end of the line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(verbosity(hidden=True))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; from here on plugins' code may run, and print."""
        output.keep()
        return super().invoke(ctx)


def verbosity(*, hidden: bool = False) -> Sequence[click.Option]:
    """Return the options that say how much to tell."""
    return [
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_debug,
            hidden=hidden,
            help="Log everything, and show tracebacks; so does LEVADA_DEBUG=1.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_verbose,
            hidden=hidden,
            help="Log what is being done.",
        ),
    ]


def console_of(ctx: click.Context) -> Console:
    """Return the one console of this process; the first call sets up logging to it."""
    root = ctx.find_root()
    if root.obj is None:
        root.obj = Console()
        debug = os.environ.get("LEVADA_DEBUG", "") not in {"", "0"}
        logs.set_up(root.obj, logging.DEBUG if debug else logging.WARNING)
        ctx.color = root.color = False if os.environ.get("NO_COLOR") else None
    console: Console = root.obj
    return console


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    _show_from(logging.DEBUG, ctx, value)


def _verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    _show_from(logging.INFO, ctx, value)


def _show_from(level: int, ctx: click.Context, wanted: bool) -> None:
    console = console_of(ctx)
    if wanted and level < logging.getLogger("levada").level:
        logs.set_up(console, level)
