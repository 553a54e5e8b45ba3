"""`levada status` and `levada enable`."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from levada.cli.command import Command
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import say, say_json
from levada.cli.text import columns, count, cut, seconds, size

if TYPE_CHECKING:
    from levada._json import Json
    from levada.journal.status import (
        DeliveryStatus,
        DiagnosticStatus,
        JournalStatus,
        SinkStatus,
        SourceStatus,
    )
    from levada.setup import Settings, Setup

WARN_FROM = 0.5
MOST_REPORTS = 10


@click.command("status", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def status_command(file: Path, *, as_json: bool) -> ExitCode:
    """Show how far every source and sink of FILE is.

    Reads the journal only, so it works while `levada run` is running. For every sink:
    fetched = delivered + pending + dead + dropped + filtered.
    """
    from levada.cli import setups
    from levada.journal.status import status

    setup = setups.load(file, read_secrets=False)
    found = status(setup.settings.state, max_bytes=setup.settings.max_journal_bytes)
    if as_json:
        say_json(_as_json(found))
    elif found is None:
        say(f"{file} has not run yet: there is no state in {setup.settings.state}")
    else:
        for line in _lines(found, file, setup):
            say(line)
    return ExitCode.DONE


@click.command("enable", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("sink")
def enable_command(file: Path, sink: str) -> ExitCode:
    """Switch a disabled SINK of FILE on again.

    A sink gets disabled when its destination says that it is gone for good (410 Gone). What it
    missed is delivered by the next run, and so is what waits for an attempt that is due later, as
    when a receiver asked for time. The pipeline must not be running.
    """
    import asyncio

    from levada.cli import setups
    from levada.errors import ConfigError
    from levada.journal.status import status

    setup = setups.load(file, read_secrets=False)
    names = [each.name for each in setup.sinks]
    if sink not in names:
        raise ConfigError(f"{file} has no sink '{sink}'; its sinks: {', '.join(names)}")
    if status(setup.settings.state, max_bytes=setup.settings.max_journal_bytes) is None:
        say(f"{file} has not run yet; there is nothing to enable")
        return ExitCode.DONE
    was = asyncio.run(_enable(setup.settings, sink))
    say(f"sink '{sink}' {_ENABLED[was]}; next: levada run {file}")
    return ExitCode.DONE


_ENABLED = {
    "disabled": "is enabled again",
    "waiting": "need not wait any longer",
    "active": "was not disabled, and waits for nothing",
}


async def _enable(settings: "Settings", sink: str) -> str:
    from levada.journal import Journal
    from levada.journal.status import enable

    async with Journal(settings) as journal:
        return await enable(journal, sink)


def _as_json(found: "JournalStatus | None") -> dict[str, Any]:
    import attrs

    if found is None:
        return {"path": None, "sources": [], "sinks": [], "diagnostics": []}
    return {**attrs.asdict(found), "path": str(found.path)}


def _lines(found: "JournalStatus", file: Path, setup: "Setup") -> list[str]:
    head = f"{file}: {count(found.last_seq, 'event')} so far"
    kept = f"{size(found.size)} in {found.path.parent}, {found.fill:.1%} full"
    sources = [
        ("source", "events", *("open", "lingering", "closed"), "rejected", "checkpoint"),
        *(_source_row(source) for source in found.sources),
    ]
    sinks = [
        ("sink", "fetched", "delivered", "pending", "dead", "dropped", "filtered"),
        *(_sink_row(sink) for sink in found.sinks),
    ]
    notes = [note for sink in found.sinks for note in _notes(sink, file)]
    present = {each.name for each in setup.sources} | {each.name for each in setup.sinks}
    known = [each.name for each in found.sources] + [each.name for each in found.sinks]
    removed = [f"!!  {name} is not in {file} any more" for name in known if name not in present]
    full = _full(found)
    reported = _reported(found.diagnostics)
    return [
        head,
        kept,
        *full,
        "",
        *columns(sources),
        "",
        *columns(sinks),
        *notes,
        *removed,
        *reported,
    ]


def _reported(diagnostics: "Sequence[DiagnosticStatus]") -> list[str]:
    """Show what connectors reported besides events, the latest first."""
    rows = [
        (f"{each.connector}: {each.what}", f"{each.count:,}", each.last, _in_words(each.fields))
        for each in diagnostics[:MOST_REPORTS]
    ]
    more = len(diagnostics) - len(rows)
    rest = [f"and {count(more, 'older report')}: add --json to see all"] if more > 0 else []
    return ["", *columns([("reported", "times", "last", "about"), *rows]), *rest] if rows else []


def _in_words(fields: "Mapping[str, Json]") -> str:
    return cut(" ".join(f"{key}={value!r}" for key, value in fields.items()), 100)


def _full(found: "JournalStatus") -> list[str]:
    """Warn when the journal fills up, and name who holds it back."""
    if found.fill < WARN_FROM or not found.sinks:
        return []
    if 2 * found.dead_letters_size > found.size:
        letters = size(found.dead_letters_size)
        return [
            f"!!  sources pause when it is full; {letters} of it is dead letters: drop or retry them"
        ]
    slowest = max(found.sinks, key=lambda sink: sink.pending)
    waiting = count(slowest.pending, "event")
    return [f"!!  sources pause when it is full; {slowest.name} holds it back: {waiting} pending"]


def _source_row(source: "SourceStatus") -> tuple[str, ...]:
    stages = source.partitions
    closed = stages["closed"] + stages["gone"]
    numbers = (source.events, stages["open"], stages["lingering"], closed, source.rejected)
    return source.name, *map(_shown, numbers), _position(source.position)


def _sink_row(sink: "SinkStatus") -> tuple[str, ...]:
    numbers = (
        sink.fetched,
        sink.delivered,
        sink.pending,
        sink.dead,
        sink.dropped,
        sink.filtered,
    )
    return sink.name, *map(_shown, numbers)


def _shown(number: int) -> str:
    return f"{number:,}"


def _position(position: Any) -> str:
    """Return a checkpoint's position in a few words; the shape of it is the source's own."""
    if position is None:
        return "none yet"
    if isinstance(position, dict) and isinstance(position.get("at"), str):
        return str(position["at"])
    return cut(json.dumps(position, ensure_ascii=False), 40)


def _notes(sink: "SinkStatus", file: Path) -> list[str]:
    notes = []
    if not sink.enabled:
        again = f"levada enable {file} {sink.name}"
        notes.append(f"!!  {sink.name} is disabled: {sink.reason}; once mended: {again}")
    if sink.dead:
        look = f"levada dead list {file} --sink {sink.name}"
        notes.append(f"!!  {sink.name}: {count(sink.dead, 'dead letter')}; {look}")
    tried = [each for each in sink.outstanding if each.attempts]
    alike = [[it for it in tried if it.reason == why] for why in {it.reason: 0 for it in tried}]
    return notes + [f"!!  {sink.name}: {_retries(several)}" for several in alike]


def _retries(several: "list[DeliveryStatus]") -> str:
    """Say what becomes of deliveries that failed for the same reason."""
    events = count(sum(each.events for each in several), "event")
    attempts = count(max(each.attempts for each in several), "time")
    due = min(each.due or 0.0 for each in several)
    return f"{events} tried {attempts}, again {_when(due)}: {several[0].reason}"


def _when(due: float) -> str:
    wait = due - time.time()
    return f"in {seconds(wait)}" if wait > 0 else "with the next run"
