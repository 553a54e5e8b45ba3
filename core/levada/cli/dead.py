"""`levada dead`: what could not be delivered, looked at, tried again or let go."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from levada.cli.command import Command
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import say, say_json
from levada.cli.text import columns, count, cut, safe

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from levada.journal.dead_letters import Choice, DeadLetter
    from levada.setup import Setup

    Change = Callable[[sqlite3.Connection, list[DeadLetter]], int]

EXCERPT = 2048
REASON = 80

FILE = click.argument("file", type=click.Path(path_type=Path))
LETTERS = click.argument("letters", nargs=-1, metavar="[LETTER]...")
SINK = click.option(
    "--sink",
    metavar="NAME",
    callback=lambda _, __, name: "" if name == "-" else name,
    help='Only those of this sink; "-": of no sink.',
)
ALL = click.option("--all", "everything", is_flag=True, help="All of them.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")


@click.group("dead")
def dead_command() -> None:
    """Look at dead letters, deliver them again, or drop them.

    A dead letter is an event that a destination refused for good, or an item that a source sent
    and that cannot be an event; then its sink is "-". A LETTER is its number, or the event's id
    where no letter has that number.
    """


@dead_command.command("list", cls=Command)
@FILE
@SINK
@JSON
def list_command(file: Path, *, sink: str | None, as_json: bool) -> ExitCode:
    """List the dead letters of FILE, oldest first. Works while a run goes on."""
    from levada.journal.dead_letters import Choice

    found = _letters(_setup(file), Choice(sink=sink))
    if as_json:
        say_json([_as_json(each) for each in found])
        return ExitCode.DONE
    rows = [_row(each) for each in found]
    head = ("letter", "sink", "partition", "event", "attempts", "time", "reason")
    for line in columns([head, *rows]) if rows else ["no dead letters"]:
        say(line)
    return ExitCode.DONE


@dead_command.command("show", cls=Command)
@FILE
@LETTERS
@JSON
def show_command(file: Path, *, letters: tuple[str, ...], as_json: bool) -> ExitCode:
    """Show dead letters of FILE in full: why, how often tried, and the vendor's record.

    For people the record is cut after 2 KiB, and what a terminal might act on is escaped.
    """
    from levada.journal.dead_letters import Choice

    if not letters:
        raise click.UsageError("Name at least one LETTER; `levada dead list` has their numbers.")
    found = _require(_letters(_setup(file), Choice(names=letters), with_raw=True), letters)
    if as_json:
        say_json([_in_full(each) for each in found])
        return ExitCode.DONE
    for each in found:
        for line in _lines(each):
            say(line)
    return ExitCode.DONE


@dead_command.command("retry", cls=Command)
@FILE
@LETTERS
@SINK
@ALL
def retry_command(
    file: Path, *, letters: tuple[str, ...], sink: str | None, everything: bool
) -> ExitCode:
    """Have dead letters of FILE delivered by the next run, under the ids they had.

    The pipeline must not be running. What a source rejected has no event to deliver, and what was
    for a sink that is no longer in FILE has no place to go: both stay.
    """
    from levada.journal import dead_letters

    setup, choice = _setup(file), _choice(letters, sink, everything=everything)
    found = _require(_letters(setup, choice), letters)
    present = {each.name for each in setup.sinks}
    gone = Counter(each.sink for each in found if each.sink and each.sink not in present)
    items = sum(not each.sink for each in found)

    def retry(connection: "sqlite3.Connection", chosen: "list[DeadLetter]") -> int:
        return dead_letters.retry(connection, [each for each in chosen if each.sink in present])

    done = _change(setup, choice, retry) if len(found) > items + gone.total() else 0
    say(f"{count(done, 'dead letter')} will be delivered by: levada run {file}")
    if items:
        what = "is no event: it stays, or drop it"
        several = "are no events: they stay, or drop them"
        say(f"{count(items, 'other')} came from a source and {what if items == 1 else several}")
    for name, number in gone.items():
        say(
            f"{count(number, 'other')} of sink '{name}', not in {file} any more: put it back, or drop them"
        )
    return ExitCode.DONE


@dead_command.command("drop", cls=Command)
@FILE
@LETTERS
@SINK
@ALL
def drop_command(
    file: Path, *, letters: tuple[str, ...], sink: str | None, everything: bool
) -> ExitCode:
    """Let go of dead letters of FILE for good; they count as dropped from then on.

    The pipeline must not be running.
    """
    from levada.journal import dead_letters

    setup, choice = _setup(file), _choice(letters, sink, everything=everything)
    found = _require(_letters(setup, choice), letters)
    done = _change(setup, choice, dead_letters.drop) if found else 0
    say(f"{count(done, 'dead letter')} dropped")
    return ExitCode.DONE


def _choice(letters: tuple[str, ...], sink: str | None, *, everything: bool) -> "Choice":
    from levada.journal.dead_letters import Choice

    if not (letters or everything) and sink is None:
        raise click.UsageError("Say which: LETTERs, --sink NAME or --all.")
    if letters and everything:
        raise click.UsageError("Say either LETTERs or --all, not both.")
    return Choice(names=letters, sink=sink)


def _setup(file: Path) -> "Setup":
    from levada.cli import setups

    return setups.load(file, read_secrets=False)


def _letters(setup: "Setup", choice: "Choice", *, with_raw: bool = False) -> "list[DeadLetter]":
    from levada.journal.dead_letters import letters

    found = letters(setup.settings.state, choice, with_raw=with_raw)
    return _of_known_sink(found, choice, setup)


def _of_known_sink(
    found: "list[DeadLetter]", choice: "Choice", setup: "Setup"
) -> "list[DeadLetter]":
    """Refuse the name of a sink that neither the pipeline nor the journal knows: a slip of the pen."""
    from levada.journal.status import status

    if found or not choice.sink:
        return found
    state = status(setup.settings.state, max_bytes=setup.settings.max_journal_bytes)
    names = {each.name for each in setup.sinks} | {it.name for it in (state.sinks if state else ())}
    if choice.sink not in names:
        known = ", ".join(sorted(names))
        raise click.UsageError(safe(f"There is no sink {choice.sink!r}; known: {known}."))
    return found


def _require(found: "list[DeadLetter]", names: tuple[str, ...]) -> "list[DeadLetter]":
    known = {str(each.number) for each in found} | {each.id for each in found}
    absent = [name for name in names if name not in known]
    if absent:
        raise click.UsageError(f"There is no dead letter {safe(absent[0])!r}.")
    return found


def _change(setup: "Setup", choice: "Choice", change: "Change") -> int:
    """Make a change in the journal, which nobody else may be using; return of how many letters."""
    import asyncio

    from levada.journal import Journal, dead_letters

    async def write() -> int:
        async with Journal(setup.settings) as journal:
            return int(await journal.write(made))

    def made(connection: "sqlite3.Connection") -> int:
        chosen = dead_letters.chosen(connection, choice)  # again: others may have been here
        return change(connection, chosen)

    return asyncio.run(write())


def _row(letter: "DeadLetter") -> tuple[str, ...]:
    name = letter.id if letter.sink else "-"
    number, attempts = str(letter.number), str(letter.attempts)
    reason = cut(letter.reason, REASON)
    return number, letter.sink or "-", letter.partition, name, attempts, letter.time, reason


def _as_json(letter: "DeadLetter") -> dict[str, Any]:
    return {
        "letter": letter.number,
        "sink": letter.sink,
        "id": letter.id,
        "partition": letter.partition,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "time": letter.time,
        "connector": letter.connector,
        "account": letter.account,
        "sequence": letter.seq,
        "bytes": letter.size,
    }


def _in_full(letter: "DeadLetter") -> dict[str, Any]:
    return {**_as_json(letter), "raw": _text(letter.raw)}


def _lines(letter: "DeadLetter") -> list[str]:
    more = letter.size - EXCERPT
    rest = f" … and {count(more, 'byte')} more: add --json" if more > 0 else ""
    facts = [(name, str(value)) for name, value in _as_json(letter).items() if value != ""]
    return [*columns(facts), f"{_text(letter.raw, EXCERPT)}{rest}", ""]


def _text(raw: bytes | None, most: int | None = None) -> str:
    return (raw or b"")[:most].decode("utf-8", "backslashreplace")
