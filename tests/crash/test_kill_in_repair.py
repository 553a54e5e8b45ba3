"""Kill -9 in a repair: the journal is damaged as before, or mended; never another one, or none."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from core.doubles import settings
from crash.killing import Blow, Victim, needs_strace
from crash.rounds import each_nth
from levada import StateError
from levada.journal import Journal
from levada.journal.repair import repair
from levada.journal.salvage import COPIED

pytestmark = needs_strace

CUT = 3 * 4096  # bytes: leaves about a third of the events, and the other tables

Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    """Return one whose journal was cut off, and has a log that ends at a crash."""
    victim = Victim(tmp_path / "it", "journal", step=60)
    victim.finish()
    assert victim.strike(Blow("pwrite64", 60, victim.log))
    (path,) = victim.database
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - CUT)
    return Victim(tmp_path / "it", "repair", step=0)


def rows_of(state: Path) -> Rows:
    with closing(sqlite3.connect(state / "state.db")) as journal:
        return {
            table: sorted(journal.execute(f"SELECT * FROM {table}"))
            for table in (*COPIED, "meta", "sqlite_sequence")
        }


def repaired(state: Path, elsewhere: Path) -> Rows:
    """Return what a repair that nobody interrupts leaves."""
    shutil.copytree(state, elsewhere)
    assert repair(elsewhere).structure
    rows = rows_of(elsewhere)
    assert rows["event"]
    return rows


async def what_a_run_finds(folder: Path, elsewhere: Path) -> Rows | None:
    """Return what is in the journal if it can be opened."""
    shutil.copytree(folder, elsewhere)
    try:
        async with Journal(settings(elsewhere)):
            pass
    except StateError as error:
        if "is damaged" in str(error):
            return None
        raise
    return rows_of(elsewhere / "state")


@each_nth
@pytest.mark.parametrize("call", ["openat", "write", "unlink", "rename", "fsync", "fdatasync"])
async def test_a_repair_can_be_repeated(
    call: str, nths: Sequence[int], victim: Victim, tmp_path: Path
) -> None:
    mended = repaired(victim.state, tmp_path / "undisturbed")
    place = [victim.state, *(victim.state / name for name in names(tmp_path / "undisturbed"))]

    for nth in nths:
        victim.strike(Blow(call, nth, place))
        found = await what_a_run_finds(victim.folder, tmp_path / f"after-{call}-{nth}")
        assert found in (None, mended)
    assert victim.deaths
    repair(victim.state)

    assert rows_of(victim.state) == mended


def names(undisturbed: Path) -> list[str]:
    """Return what a repair writes to."""
    drafts = ("state.db.salvage", "state.db.repaired", "state.db.mended")
    (copy,) = (path.name for path in undisturbed.glob("state.db.damaged-*-*[0-9]"))
    return [f"{each}{end}" for each in ("state.db", *drafts, copy) for end in ("", "-wal")]
