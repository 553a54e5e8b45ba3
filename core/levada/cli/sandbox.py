"""`levada sandbox`."""

import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from levada.cli.command import Command, console_of
from levada.cli.console import Console
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import say_raw
from levada.cli.text import safe

if TYPE_CHECKING:
    from levada.sandbox import (
        Answer,
        Delivery,
        KapsoQuirks,
        Receiver,
        Sandbox,
        StevoraQuirks,
    )

MOST_SHOWN = 3

TEXT = """\
Kapso     {kapso}   key: {key}
Stevora   {stevora}   key: {key}
webhooks  {webhooks}   any path; what arrives is shown on stderr

Try in another terminal:

  export KAPSO_API_KEY={key} STEVORA_API_KEY={key}
  levada pull kapso --set base_url={kapso}
  levada pull stevora --set base_url={stevora} --only 'llm.*'

Or in a pipeline file:

  [sources.kapso]
  base_url = "{kapso}"
  api_key = {{ env = "KAPSO_API_KEY" }}

  [sources.stevora]
  base_url = "{stevora}"
  api_key = {{ env = "STEVORA_API_KEY" }}
"""


PORT = click.IntRange(0, 65535)


@click.command("sandbox", cls=Command)
@click.option("--kapso-port", type=PORT, default=7171, show_default=True, help="0: any free one.")
@click.option("--stevora-port", type=PORT, default=7172, show_default=True, help="0: any free one.")
@click.option("--webhook-port", type=PORT, default=7173, show_default=True, help="0: any free one.")
@click.option(
    "--size",
    type=click.IntRange(0, 10_000),
    default=6,
    show_default=True,
    metavar="N",
    help="Executions at Kapso, and runs at Stevora, to begin with.",
)
@click.option(
    "--grow",
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="How often something happens at both; 0s: never.",
)
@click.option(
    "--rate-limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Requests a minute that Kapso allows; default: any number.",
)
@click.option(
    "--quirk",
    "quirks",
    multiple=True,
    metavar="NAME[=VALUE]",
    help="Do what the reference does not say, as kapso.timestamp_cursors or stevora.order=oldest. "
    "May be repeated; an unknown name lists them all.",
)
@click.pass_context
def sandbox_command(
    ctx: click.Context,
    *,
    kapso_port: int,
    stevora_port: int,
    webhook_port: int,
    size: int,
    grow: str,
    rate_limit: int | None,
    quirks: tuple[str, ...],
) -> ExitCode:
    """Run a local Kapso, Stevora and webhook receiver.

    They answer as the vendors do, on 127.0.0.1 only, until Ctrl-C. The same --size gives the same executions
    every time, and what grows grows the same way.
    """
    import asyncio

    from levada.cli import playground
    from levada.sandbox import Receiver

    console = console_of(ctx)
    vendors = playground.sandbox(
        kapso_port=kapso_port,
        stevora_port=stevora_port,
        size=size,
        grow_every=_duration(grow),
        rate_limit=rate_limit,
        quirks=_quirks(quirks),
    )
    receiver = Receiver(port=webhook_port, answers=lambda delivery: _shown(delivery, console))
    asyncio.run(_serve(vendors, receiver))
    console.line("stopped")
    return ExitCode.DONE


def _duration(text: str) -> timedelta | None:
    from levada.config import durations

    duration = durations.parse(text)
    if duration is None:
        raise click.BadParameter(f'use a duration such as "500ms" or "2s" ({durations.HELP})')
    return duration or None


def _quirks(texts: tuple[str, ...]) -> "tuple[KapsoQuirks, StevoraQuirks]":
    from levada.sandbox.switches import read_quirks

    try:
        return read_quirks(texts)
    except ValueError as error:
        raise click.BadParameter(safe(str(error)), param_hint="'--quirk'") from error


async def _serve(vendors: "Sandbox", receiver: "Receiver") -> None:
    import asyncio

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with vendors, receiver:
        text = TEXT.format(
            kapso=vendors.kapso.url,
            stevora=vendors.stevora.url,
            webhooks=receiver.url,
            key=vendors.kapso_key,
        )
        say_raw(text)
        await ended.wait()


def _shown(delivery: "Delivery", console: Console) -> "Answer":
    kinds = ", ".join(str(event.get("type")) for event in delivery.events[:MOST_SHOWN])
    more = len(delivery.events) - MOST_SHOWN
    console.line(safe(f"POST {delivery.path}  {kinds}{f' and {more} more' if more > 0 else ''}"))
    return 204, {}, 0.0
