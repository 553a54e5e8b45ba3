"""`levada repair`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from levada.cli.command import Command
from levada.cli.exit_codes import ExitCode
from levada.cli.printing import say
from levada.cli.text import count

if TYPE_CHECKING:
    from levada.journal.repair import Repair


@click.command("repair", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
def repair_command(file: Path) -> ExitCode:
    """Mend the journal of FILE as far as that can be done.

    Checks every row. If something is wrong, keeps a copy of the journal as it was, and puts what can
    be read into a new one; an event that was damaged becomes a dead letter of every sink that had
    yet to get it. A position that cannot be read is forgotten: its source reads from the beginning,
    and what is known by id does not come again. The pipeline must not be running. A backup, where there is one, is better.
    """
    from levada.cli import setups
    from levada.journal.repair import repair

    setup = setups.load(file, read_secrets=False)
    found = repair(setup.settings.state)
    for line in _lines(found, file):
        say(line)
    return ExitCode.DONE


def _lines(found: "Repair", file: Path) -> list[str]:
    if found.copy is None:
        return ["the journal is whole; there is nothing to repair"]
    lines = [f"the journal as it was: {found.copy}"]
    if found.turned:
        bits = count(found.turned, "bit")
        lines.append(f"turned back what had changed since it was written: {bits}")
    if found.structure:
        lines.append(f"its file was damaged ({found.structure}); what could be read was kept")
    if found.unexplained:
        lines.append(
            "!!  what has changed may look right and be wrong: an event may be missing, or twice"
        )
    if found.forgets_positions:
        lines.append("!!  what was read may be read and delivered once more")
    if found.forgets_receipts:
        lines.append("!!  a sink may not know its files any more: it stops, and says which to move")
    lines += [f"  {table}: some of its rows could not be read" for table in found.lost]
    if found.damaged:
        what = count(found.damaged, "event")
        lines.append(f"{what} did not fit its checksum: levada dead list {file}")
    lines += [
        f"  {name}: {count(number, 'value')} could not be right, and had to be put right"
        for name, number in found.reset.items()
    ]
    return [*lines, f"next: levada verify {file}, then levada run {file}"]
