"""Checks what the tables hold besides events, and sets what cannot be read to what costs least.

An event's row has a checksum; these have none, so only what is no value of its column is found.
"""

import json
import math
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final

from attrs import frozen

from levada.journal.rows import COLUMNS, LENGTH, LETTER_LENGTH, checksum, room_of

LONG_AGO: Final = "'1970-01-01T00:00:00+00:00'"


def _json(text: str) -> bool:
    json.loads(text)
    return True


def _members(text: str) -> bool:
    pairs = json.loads(text)
    return bool(pairs) and all(0 < first <= last for first, last in pairs)


def _time(text: str) -> bool:
    return datetime.fromisoformat(text).tzinfo is not None


def _number(text: str) -> bool:
    return int(text) >= 0


KINDS: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    "words": ("text", lambda _: True),
    "json": ("text", _json),
    "members": ("text", _members),
    "time": ("text", _time),
    "stage": ("text", {"open", "lingering", "closed", "gone", "settled"}.__contains__),
    "condition": ("text", {"active", "disabled"}.__contains__),
    "number": ("integer", _number),
    "moment": ("real", lambda text: math.isfinite(float(text))),
}
"""What a column may hold: its type as SQLite tells it, and a check of the text of a value."""


@frozen
class Rule:
    """What a column has to hold, and what it gets when it does not."""

    table: str
    column: str
    kind: str
    instead: str | None = None
    """An SQL expression; None: the row goes."""

    empty: bool = False
    """Whether it may be NULL."""

    @property
    def name(self) -> str:
        """The column as it is called in reports."""
        return f"{self.table}.{self.column}"

    @property
    def where(self) -> str:
        """The condition for the rows that break it."""
        column = self.column
        broken = f"NOT is_{self.kind}(typeof({column}), CAST({column} AS BLOB))"
        return f"{column} IS NOT NULL AND {broken}" if self.empty else broken


def _rules(table: str, kind: str, columns: str, instead: str | None) -> Iterator[Rule]:
    """Yield one rule for each of the *columns*; those with a question mark may be NULL."""
    for column in columns.split():
        yield Rule(table, column.rstrip("?"), kind, instead, column.endswith("?"))


_KEPT = "(SELECT count(*) FROM seen WHERE seen.partition = partition.id)"
_NEWEST = "coalesce((SELECT max(seq) FROM event WHERE event.partition = partition.id), 0)"
_FIRST = "json_extract(members, '$[0][0]')"
_PLANNED = """(
    since + delivered + dead + dropped + filtered + (
        SELECT coalesce(sum(json_extract(pair.value, '$[1]')
            - json_extract(pair.value, '$[0]') + 1), 0)
        FROM delivery, json_each(delivery.members) AS pair WHERE delivery.sink = sink.name
    ))"""

_NEWEST_EVER = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0)"
_NEWEST_KEPT = "coalesce((SELECT max(seq) FROM event), 0)"
_NEWEST_SEEN = "coalesce((SELECT max(seq) FROM seen), 0)"

BALANCE: Final = (
    f"({_NEWEST_EVER} - {_PLANNED} - (SELECT count(*) FROM event WHERE event.seq > sink.seq))"
)
"""Of a sink: how many events came for it and are nowhere any more; less than 0: are twice."""

# In this order: what a later one computes from has been mended by an earlier one.
RULES: Final = (
    *_rules("source", "words", "name", None),
    *_rules("source", "words", "connector account", "''"),
    *_rules("source", "json", "position?", "NULL"),
    *_rules("seen", "words", "id", None),
    *_rules("seen", "number", "seq", "0"),
    *_rules("partition", "words", "key", "'damaged-' || id"),
    *_rules("partition", "words", "connector account source uri", "''"),
    *_rules("partition", "json", "position? version? memo?", "NULL"),
    *_rules("partition", "words", "sorting?", "NULL"),
    *_rules("partition", "time", "changed?", "NULL"),
    *_rules("partition", "stage", "state", "'open'"),
    *_rules("partition", "number", "final", "0"),
    *_rules("partition", "number", "events", _KEPT),
    *_rules("partition", "number", "last", _NEWEST),
    *_rules("delivery", "words", "sink", None),
    *_rules("delivery", "members", "members", None),
    *_rules("delivery", "number", "first", _FIRST),
    *_rules("delivery", "number", "attempts", "0"),
    *_rules("delivery", "moment", "due? wait?", "NULL"),
    *_rules("delivery", "words", "reason?", "NULL"),
    *_rules("sink", "words", "name", None),
    *_rules("sink", "words", "connector identity", "''"),
    *_rules("sink", "condition", "state", "'active'"),
    *_rules("sink", "words", "reason?", "NULL"),
    *_rules("sink", "json", "receipt?", "NULL"),
    *_rules("sink", "moment", "due? wait?", "NULL"),
    *_rules("sink", "number", "since delivered dead dropped filtered moves", "0"),
    *_rules("sink", "number", "seq", _PLANNED),
    *_rules("dead", "words", "event", "'damaged-' || id"),
    *_rules("dead", "words", "sink connector account partition reason", "''"),
    *_rules("dead", "number", "seq?", "NULL"),
    *_rules("dead", "number", "attempts", "0"),
    *_rules("dead", "time", "time", LONG_AGO),
    *_rules("dead", "time", "event_time?", LONG_AGO),
    *_rules("dead", "words", "event_type? uri?", "''"),
    *_rules("dead", "words", "subject? kind?", "NULL"),
    *_rules("diagnostic", "words", "connector what", None),
    *_rules("diagnostic", "json", "fields", None),
    *_rules("diagnostic", "number", "count", None),
    *_rules("diagnostic", "time", "first last", None),
)


def broken(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many values cannot be read, by table and column."""
    _add_checks(connection)
    found = {
        rule.name: count
        for rule in RULES
        if (count := _one(connection, f"SELECT count(*) FROM {rule.table} WHERE {rule.where}"))
    }
    if any(name.startswith(("sink.", "delivery.")) for name in found):
        return found
    odd = {
        "meta.value": "SELECT sum(name <> 'dead') IS NOT 3 OR count(*) <> sum(CASE"
        " WHEN name = 'journal' THEN 1 WHEN name = 'closed' THEN value IN ('1', '2', '-')"
        " WHEN name IN ('bytes', 'dead') THEN value <> '' AND value NOT GLOB '*[^0-9]*'"
        " ELSE 0 END) FROM meta",
        "event.seq": f"SELECT {_NEWEST_EVER} < {_NEWEST_KEPT}"
        f" OR {_NEWEST_EVER} = 0 AND {_NEWEST_SEEN} > 0",
        "sink.accounts": f"SELECT count(*) FROM sink WHERE {BALANCE} <> 0",
    }
    return found | {name: count for name in odd if (count := _one(connection, odd[name]))}


def broken_events(connection: sqlite3.Connection) -> Iterator[Any]:
    """Yield the rows of events whose checksum does not fit, or that are of no partition."""
    known = {row for (row,) in connection.execute("SELECT id FROM partition")}
    for row in connection.execute(f"SELECT {COLUMNS} FROM event ORDER BY seq"):
        *_, crc = row
        if checksum(*row[2:8]) != crc or row[1] not in known:
            yield row


def mend(connection: sqlite3.Connection) -> None:
    """Set what cannot be read to something that can, within the transaction that is open."""
    _add_checks(connection)
    _guess_deliveries(connection)
    sinks = _one(connection, "SELECT count(*) FROM sink")
    (lost,) = (rule for rule in RULES if rule.name == "sink.receipt")
    connection.execute(f"UPDATE sink SET moves = moves + 1 WHERE {lost.where}")
    for rule in RULES:
        if rule.instead is None:
            connection.execute(f"DELETE FROM {rule.table} WHERE {rule.where}")
        else:
            connection.execute(
                f"UPDATE {rule.table} SET {rule.column} = {rule.instead} WHERE {rule.where}"
            )
    connection.execute("DELETE FROM seen WHERE partition NOT IN (SELECT id FROM partition)")
    if _one(connection, "SELECT count(*) FROM sink") < sinks:
        forget_name(connection)
    _name_journal(connection)
    _place_sinks(connection, _count_on(connection))


_SINKS: Final = "SELECT name FROM sink WHERE is_words(typeof(name), CAST(name AS BLOB))"


def _guess_deliveries(connection: sqlite3.Connection) -> None:
    """Find out of what is left whose a delivery is, and what is in it, where that is damaged.

    The sink's account tells how many events are missing, and its first one and the next delivery
    where they may be.
    """
    sinks = [name for (name,) in connection.execute(_SINKS)]
    for row, sink in connection.execute("SELECT id, sink FROM delivery").fetchall():
        if sink not in sinks:
            for name in get_close_matches(str(sink), sinks, 1):
                connection.execute("UPDATE delivery SET sink = ? WHERE id = ?", (name, row))
    connection.execute("DELETE FROM delivery WHERE sink NOT IN (SELECT name FROM sink)")
    connection.execute(
        "UPDATE delivery SET members = '[]'"
        " WHERE NOT is_members(typeof(members), CAST(members AS BLOB))"
    )
    for row, sink, first in connection.execute(
        "SELECT id, sink, first FROM delivery WHERE members = '[]' AND typeof(first) = 'integer'"
        " ORDER BY first"
    ).fetchall():
        ((last,),) = connection.execute(
            f"SELECT min(seq, ? - 1 + {BALANCE}, coalesce((SELECT min(first) - 1 FROM delivery"
            " WHERE sink = sink.name AND first > ?), seq)) FROM sink WHERE name = ?",
            (first, first, sink),
        ).fetchall()
        if 0 < first <= last:
            connection.execute(
                "UPDATE delivery SET members = ? WHERE id = ?", (f"[[{first},{last}]]", row)
            )


def forget_name(connection: sqlite3.Connection) -> None:
    """Have the journal take another name, as a sink is lost: one that comes must not pass for it."""
    connection.execute("DELETE FROM meta WHERE name = 'journal'")


def forget_reading(connection: sqlite3.Connection) -> None:
    """Have everything read again that is not there, as nobody knows who had yet to get what is gone."""
    connection.execute("UPDATE source SET position = NULL")
    connection.execute(
        "UPDATE partition SET position = NULL, version = NULL, state = 'open',"
        " events = (SELECT count(*) FROM event WHERE partition = partition.id)"
    )
    connection.execute(
        "DELETE FROM seen WHERE NOT EXISTS"
        " (SELECT 1 FROM event WHERE event.partition = seen.partition AND event.id = seen.id)"
    )


def _name_journal(connection: sqlite3.Connection) -> None:
    """Make sure that the journal has its UUID, or another one if that is lost."""
    if not _one(connection, "SELECT count(*) FROM meta WHERE name = 'journal'"):
        connection.execute("UPDATE meta SET name = 'journal' WHERE length(value) = 36")
    connection.execute("INSERT OR IGNORE INTO meta VALUES ('journal', ?)", (str(uuid.uuid4()),))
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('closed', '1')")
    connection.execute("DELETE FROM meta WHERE name NOT IN ('journal', 'closed', 'bytes', 'dead')")


def _count_on(connection: sqlite3.Connection) -> int:
    """Make sure that the next event gets a number that none had; return the last one."""
    query = f"SELECT {_NEWEST_EVER}, {_NEWEST_KEPT}, {_NEWEST_SEEN}"
    ((ever, kept, seen),) = connection.execute(query).fetchall()
    newest = int(ever if ever and ever >= kept else max(kept, seen))
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'event'")
    connection.execute("INSERT INTO sqlite_sequence VALUES ('event', ?)", (newest,))
    return newest


def _place_sinks(connection: sqlite3.Connection, newest: int) -> None:
    """Bring every sink's place into what is there.

    Of two numbers that do not fit each other the lower one counts: rather twice than never.
    """
    connection.execute("UPDATE sink SET since = 0 WHERE since > ?", (newest,))
    connection.execute(
        f"UPDATE sink SET seq = min({_PLANNED}, ?) WHERE seq NOT BETWEEN since AND ?",
        (newest, newest),
    )
    connection.execute(f"UPDATE sink SET seq = {_PLANNED} WHERE seq > {_PLANNED}")


def remember(connection: sqlite3.Connection) -> None:
    """Enter the ids of the events that are there among those seen, and count what takes room."""
    connection.execute(
        "INSERT OR IGNORE INTO seen SELECT event.partition, event.id, event.seq FROM event"
        " JOIN partition ON partition.id = event.partition"
        " WHERE partition.state IN ('open', 'lingering')"
    )
    for name, lengths in (
        ("bytes", f"SELECT {LENGTH} FROM event"),
        ("dead", f"SELECT {LETTER_LENGTH} FROM dead"),
    ):
        size = sum(room_of(length) for (length,) in connection.execute(lengths))
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, str(size)))


def _add_checks(connection: sqlite3.Connection) -> None:
    for name, (type_of, check) in KINDS.items():
        connection.create_function(f"is_{name}", 2, _checked(type_of, check), deterministic=True)


def _checked(type_of: str, check: Callable[[str], bool]) -> Callable[[str, Any], bool]:
    """Return the check as SQL calls it: with the type of a value, and the value as bytes."""

    def is_readable(found: str, value: bytes | None) -> bool:
        try:
            return found == type_of and value is not None and check(value.decode())
        except (ValueError, TypeError, OverflowError, RecursionError):
            return False

    return is_readable


def _one(connection: sqlite3.Connection, query: str) -> int:
    ((count,),) = connection.execute(query).fetchall()
    return int(count)
