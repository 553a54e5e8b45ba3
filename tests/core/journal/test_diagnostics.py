import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.doubles import settings
from levada import Json
from levada.host import MOST_OF_A_KIND, Diagnostics
from levada.journal import Journal
from levada.journal.status import DiagnosticStatus, status


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with Journal(settings(tmp_path)) as journal:
        yield journal


async def reported(journal: Journal, *reports: tuple[str, dict[str, Json]]) -> None:
    found = Diagnostics()
    for what, fields in reports:
        found.add("kapso", what, fields)
    await journal.note(found.take())


def remembered(journal: Journal) -> list[DiagnosticStatus]:
    found = status(journal.settings.state, max_bytes=1)
    assert found is not None
    return list(found.diagnostics)


async def test_equal_findings_are_one_and_counted_over_runs(journal: Journal) -> None:
    moon, sun = ("type.unknown", {"type": "moon"}), ("type.unknown", {"type": "sun"})

    await reported(journal, moon, moon, sun)
    await reported(journal, moon)

    counts = {str(each.fields["type"]): each.count for each in remembered(journal)}
    assert counts == {"moon": 3, "sun": 1}


async def test_what_was_taken_is_not_taken_again() -> None:
    found = Diagnostics()
    found.add("kapso", "events.gap", {})

    taken = [(finding.what, count) for finding, count in found.take()]

    assert taken == [("events.gap", 1)]
    assert found.take() == []
    assert found.counts == {"kapso: events.gap": 1}


async def test_too_many_of_a_kind_are_only_counted(journal: Journal) -> None:
    for number in range(MOST_OF_A_KIND + 50):
        await reported(journal, ("partition.gone", {"partition": number}))

    found = remembered(journal)

    assert len(found) == MOST_OF_A_KIND + 1
    assert [each.count for each in found if not each.fields] == [50]


async def test_what_was_not_reported_for_a_month_is_let_go(journal: Journal) -> None:
    await reported(journal, ("events.gap", {"partition": "old"}))
    with sqlite3.connect(journal.settings.state / "state.db") as other:
        other.execute("UPDATE diagnostic SET last = '2020-01-01T00:00:00+00:00'")
    other.close()

    await reported(journal, ("events.gap", {"partition": "new"}))

    assert [each.fields for each in remembered(journal)] == [{"partition": "new"}]
