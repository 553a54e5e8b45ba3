"""`levada verify`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from levada.cli.command import Command, console_of
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import say, say_json
from levada.cli.text import columns, count

if TYPE_CHECKING:
    from levada.host import Host
    from levada.setup import Setup
    from levada.verify import Difference, Verdict

MOST_SHOWN = 20


@click.command("verify", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--since",
    metavar="T",
    help='A time such as 2026-03-02T09:00:00Z, or how long ago: "6h".  [default: the retention]',
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, an object a source.")
@click.pass_context
def verify_command(ctx: click.Context, file: Path, *, since: str | None, as_json: bool) -> ExitCode:
    """Compare the vendors' events with what FILE has taken.

    Reads every execution that changed since T from its beginning, moves no position and delivers
    nothing. Names what is missing, and what the vendor does not show any more; exits with 6 if
    something is missing. May be asked while `levada run` is running.
    """
    from levada.cli import foreground, setups
    from levada.host import Host

    setup = setups.load(file, follow=False)
    moment = _moment(since) if since else datetime.now(UTC) - setup.settings.retention
    host = Host(setup.settings)
    verdicts = foreground.run(_verify(setup, host, moment), host, console_of(ctx))
    if as_json:
        say_json([_as_json(each) for each in verdicts])
    else:
        for verdict in verdicts:
            for line in _lines(verdict, moment):
                say(line)
    return ExitCode.STATE if any(each.missing for each in verdicts) else ExitCode.DONE


async def _verify(setup: "Setup", host: "Host", since: datetime) -> "Sequence[Verdict]":
    from levada.verify import verify

    return [await verify(each, host, since) for each in setup.sources]


def _moment(text: str) -> datetime:
    from levada.config import durations
    from levada.page import parse_time

    ago: timedelta | None = durations.parse(text)
    moment = parse_time(text) if ago is None else datetime.now(UTC) - ago
    if moment is None:
        raise click.BadParameter(
            f'use a time such as 2026-03-02T09:00:00Z, or a duration ({durations.HELP}) such as "6h"',
            param_hint="--since",
        )
    return moment


def _as_json(verdict: "Verdict") -> dict[str, Any]:
    import attrs

    return attrs.asdict(
        verdict,
        value_serializer=lambda _, __, value: (
            value.isoformat() if isinstance(value, datetime) else value
        ),
    )


def _lines(verdict: "Verdict", since: datetime) -> list[str]:
    what = f"{count(verdict.events, 'event')} in {count(verdict.partitions, 'execution')}"
    head = (
        f"{verdict.source}: {what} since {since:%Y-%m-%d %H:%M:%S} UTC, "
        f"{count(verdict.requests, 'request')}"
    )
    found = (
        ("missing", verdict.missing, "the journal has read past them"),
        ("extra", verdict.extra, "the vendor does not show them any more"),
        ("unread", verdict.unread, "the next run will read them"),
    )
    lines = [line for name, several, why in found for line in _named(name, several, why)]
    if verdict.forgotten:
        closed = count(verdict.forgotten, "execution")
        lines.append(f"  {closed} closed too long ago to be compared")
    if not (lines or verdict.partitions):
        lines.append("  nothing changed since then, so there was nothing to compare: see --since")
    return [head, *(lines or ["  nothing is missing"])]


def _named(name: str, several: "Sequence[Difference]", why: str) -> list[str]:
    if not several:
        return []
    rows = [
        (each.time.isoformat(), each.partition, each.id, each.type) for each in several[:MOST_SHOWN]
    ]
    more = len(several) - len(rows)
    rest = [f"    and {more:,} more: add --json to see all"] if more > 0 else []
    return [f"  {len(several):,} {name}: {why}", *columns(rows, indent="    "), *rest]
