"""What connectors reported besides events, remembered for `levada status`."""

import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from levada.host import MOST_OF_A_KIND, Finding

KEPT = timedelta(days=30)


def note(connection: sqlite3.Connection, findings: Iterable[tuple[Finding, int]]) -> None:
    """Add how often each finding was made, and let go of those not made for `KEPT`."""
    now = datetime.now(UTC)
    for finding, count in findings:
        connection.execute(
            "INSERT INTO diagnostic VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (connector, what, fields)"
            " DO UPDATE SET count = count + excluded.count, last = excluded.last",
            (
                finding.connector,
                finding.what,
                _fields(connection, finding),
                count,
                _text(now),
                _text(now),
            ),
        )
    connection.execute("DELETE FROM diagnostic WHERE last < ?", (_text(now - KEPT),))


def _fields(connection: sqlite3.Connection, finding: Finding) -> str:
    """Return the fields to file a finding under: its own, or none when there are too many."""
    of_a_kind = "FROM diagnostic WHERE connector = ? AND what = ?"
    ((known, others),) = connection.execute(
        f"SELECT coalesce(sum(fields = ?), 0), count(*) {of_a_kind}",
        (finding.fields, finding.connector, finding.what),
    ).fetchall()
    return finding.fields if known or others < MOST_OF_A_KIND else json.dumps({})


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
