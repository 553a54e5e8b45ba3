"""Says exactly what has to be where after the last, clean run."""

import gzip
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from crash.killing import Victim
from crash.victim import PER_DELIVERY, RUNS
from levada.sandbox.receiver import Delivery

Entry: TypeAlias = tuple[int, str, int]
"""An event's sequence number, its run, and its number there."""


def journal(victim: Victim) -> list[Entry]:
    """Return what the journal holds: every event of every run once, in order, all delivered."""
    entries, sink = _state(victim)
    assert by_run(entries) == expected(victim), "the journal has lost events, or has them twice"
    assert sink == (entries[-1][0], len(entries), 0, 0, 0), f"the sink's account is {sink}"
    return entries


def expected(victim: Victim) -> dict[str, list[int]]:
    """Return the numbers of each run's events, as its source has them."""
    runs = 1 if victim.protocol == "queue" else RUNS
    return {f"run-{run}": list(range(1, victim.count + 1)) for run in range(runs)}


def _state(victim: Victim) -> tuple[list[Entry], tuple[int, ...]]:
    """Return the events in the journal, and the sink's row; nothing is under way."""
    with closing(sqlite3.connect(victim.folder / "state" / "state.db")) as state:
        rows = state.execute(
            "SELECT seq, key, event.id FROM event JOIN partition ON partition.id = event.partition"
            " ORDER BY seq"
        ).fetchall()
        (sink,) = state.execute("SELECT seq, delivered, dead, dropped, filtered FROM sink")
        under_way = state.execute("SELECT count(*) FROM delivery").fetchone()
    assert under_way == (0,), "deliveries are under way"
    return [(seq, run, int(name.removeprefix("evt-"))) for seq, run, name in rows], sink


def files(victim: Victim) -> None:
    """The files hold what the journal holds: each event once, in its order, in whole lines."""
    place = victim.folder / "archive"
    found = sorted(place.glob("events-*")) if place.is_dir() else [victim.folder / "events.jsonl"]
    text = b"".join(map(_content, found))
    assert text.endswith(b"\n"), "the last line is not whole"
    entries = [entry(line) for line in text.splitlines()]
    if victim.protocol == "forgetful":
        kept, sink = _state(victim)
        assert not kept, "the journal keeps what it need not"
        assert sink == (entries[-1][0], len(entries), 0, 0, 0), f"the sink's account is {sink}"
        assert entries == sorted(entries), "the files are not in the journal's order"
        assert by_run(entries) == expected(victim), "the files have lost events, or have them twice"
    else:
        assert entries == journal(victim), "the files do not hold what the journal holds"


def webhook(victim: Victim, deliveries: Sequence[Delivery]) -> int:
    """Every event has arrived, each time under the same id with the same body; return repetitions."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    ids: dict[Entry, set[str]] = defaultdict(set)
    for each in deliveries:
        name = each.headers["webhook-id"]
        bodies[name].add(each.body)
        for found in _entries(each):
            ids[found].add(name)
    assert all(each.is_verified for each in deliveries), "a signature is wrong"
    assert all(len(forms) == 1 for forms in bodies.values()), "an id came with another body"
    assert all(len(names) == 1 for names in ids.values()), "an event came with another id"
    assert sorted(ids) == journal(victim), "not every event has arrived"
    assert by_run(ids) == expected(victim), "first arrivals are not in a run's order"
    return len(deliveries) - len(bodies)


def stdout(victim: Victim) -> int:
    """Lines are whole, or the last before a death; return how often events came again.

    Each time, that was at most one delivery.
    """
    lines = _lines(victim)
    texts: dict[int, set[bytes]] = defaultdict(set)
    order = [entry(line) for line in lines]
    for (seq, _, _), line in zip(order, lines, strict=True):
        texts[seq].add(line)
    assert all(len(forms) == 1 for forms in texts.values()), "a line came again as another"
    assert sorted(set(order)) == journal(victim), "not every event came out"
    back = [before - after + 1 for (before, *_), (after, *_) in pairwise(order)]
    assert max(back) <= PER_DELIVERY, f"{max(back)} events came again at once"
    again = [each for each in back if each > 0]
    assert min(back) == 0, "an event was passed over"
    assert len(again) <= len(victim.deaths), "events came again without a crash"
    return len(again)


def by_run(entries: Iterable[Entry]) -> dict[str, list[int]]:
    """Return the numbers of each run's events, in their order."""
    runs: dict[str, list[int]] = defaultdict(list)
    for _, run, number in entries:
        runs[run].append(number)
    return dict(sorted(runs.items()))


def entry(line: bytes) -> Entry:
    """Read a line."""
    found = json.loads(line)
    return int(found["sequence"]), found["data"]["of"], found["data"]["n"]


def _content(file: Path) -> bytes:
    data = file.read_bytes()
    return gzip.decompress(data) if file.suffix == ".gz" else data


def _entries(delivery: Delivery) -> list[Entry]:
    return [
        (int(each["sequence"]), each["data"]["of"], each["data"]["n"]) for each in delivery.events
    ]


def _lines(victim: Victim) -> list[bytes]:
    """Return the whole lines; what is none has to be the beginning of one, and at a death."""
    if victim.piped:
        parts = [part for output in victim.outputs for part in output.splitlines(keepends=True)]
        lines = [part[:-1] for part in parts if part.endswith(b"\n")]
        torn = [part for part in parts if not part.endswith(b"\n")]
    else:
        text = victim.out.read_bytes()
        assert text.endswith(b"\n"), "the last line is not whole"
        lines = [line for line in text.splitlines() if _is_whole(line)]
        torn = [line for line in text.splitlines() if not _is_whole(line)]
    assert len(torn) <= len(victim.deaths), "a line is torn without a crash"
    within = [part for part in torn if not any(line.startswith(part) for line in lines)]
    assert not within, "a line begins within another"
    return lines


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
