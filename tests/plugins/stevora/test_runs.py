from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from levada import Event, Partition
from levada.sandbox.world import rfc3339
from levada_stevora import runs
from levada_stevora.client import RunRow
from levada_stevora.runs import End, Finding
from levada_stevora.schedule import AFTER, looks_due

T0 = datetime(2026, 3, 2, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SHOWN: Any = {"version": 3, "created_at": rfc3339(T0), "updated_at": rfc3339(T0 + MINUTE)}


def shown(status: str | None, *, now: datetime = T0 + 5 * MINUTE, **fields: Any) -> Partition:
    """Return a run as a list shows it."""
    row = RunRow(id="r", status=status, **(SHOWN | fields))
    return runs.of_row(row, uri="https://x/r", now=now)


def found(ended: str | None = None, **more: Any) -> Finding:
    return Finding(**{"newest": T0, "ended": ended, "is_new": True, "is_first": False, **more})


def event(event_type: str, seconds: int = 0) -> Event:
    time = T0 + timedelta(seconds=seconds)
    return Event("e", type=event_type, time=time, partition="r", raw=b"{}")


# ── what a row says ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "version", "final"),
    [
        ("PENDING", ["PENDING", 3, SHOWN["updated_at"]], False),
        ("RUNNING", None, False),
        ("WAITING", ["WAITING", 3, SHOWN["updated_at"]], False),
        ("PAUSED", ["PAUSED", 3, SHOWN["updated_at"]], False),
        ("COMPLETED", ["COMPLETED"], True),
        ("CANCELLED", ["CANCELLED"], True),
        ("FAILED", ["FAILED", 3, SHOWN["updated_at"], 1], False),
        ("SOMETHING_NEW", ["SOMETHING_NEW", 3, SHOWN["updated_at"]], False),
        (None, [None, 3, SHOWN["updated_at"]], False),
    ],
)
def test_the_version_tells_whether_a_run_has_to_be_read(
    status: str | None, version: Any, final: bool
) -> None:
    run = shown(status)

    assert (run.version, run.final) == (version, final)
    assert (run.order, run.changed, run.uri) == (T0, T0 + MINUTE, "https://x/r")
    assert runs.status_of(run) == status


@pytest.mark.parametrize("status", ["PENDING", "WAITING", "PAUSED", "SOMETHING_NEW"])
def test_an_open_run_that_shows_no_change_is_always_read(status: str) -> None:
    assert shown(status, version=None, updated_at=None).version is None


def test_a_failed_run_without_a_last_change_counts_from_when_it_failed() -> None:
    run = shown("FAILED", version=None, updated_at=None, failed_at=rfc3339(T0 + 3 * MINUTE))

    assert run.version == ["FAILED", None, None, 1]


# ── the schedule of a failed run ────────────────────────────────────────────────────────────────


def test_a_failed_run_is_looked_at_six_times_in_a_day() -> None:
    minutes = [step.total_seconds() / 60 for step in AFTER]

    assert minutes == [1, 5, 30, 120, 300, 1440]
    assert [looks_due(T0, T0 + n * MINUTE) for n in (0, 0.5, 1, 10, 60, 1440)] == [0, 0, 1, 2, 3, 6]


def test_its_version_changes_when_a_look_is_due_and_the_last_one_is_final() -> None:
    failed = shown("FAILED", now=T0 + MINUTE)

    later = [runs.scheduled(failed, T0 + MINUTE + step) for step in AFTER]

    assert [run.version[-1] for run in (failed, *later)] == [0, 1, 2, 3, 4, 5, 6]
    assert [run.final for run in later] == [False] * 5 + [True]


def test_a_failed_run_whose_read_failed_is_still_to_be_read() -> None:
    assert runs.scheduled(evolve(shown("FAILED"), version=None), T0).version is None


def test_a_run_that_failed_long_ago_is_final_at_once() -> None:
    assert shown("FAILED", now=T0 + timedelta(days=3)).final


# ── what a read tells ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["RUNNING", "WAITING", "SOMETHING_NEW", None])
@pytest.mark.parametrize(("ended", "final"), [("COMPLETED", True), ("FAILED", False)])
def test_an_end_that_is_new_ends_a_run_that_was_shown_open(
    status: str | None, ended: str, final: bool
) -> None:
    run = runs.learnt(shown(status), found(ended), T0)

    assert (runs.status_of(run), run.final, run.version[0]) == (ended, final, ended)


def test_a_run_of_which_nothing_is_known_is_told_by_its_newest_event() -> None:
    bare = runs.unconfirmed(shown("RUNNING"))

    assert runs.learnt(bare, found("COMPLETED", is_new=False), T0).final
    assert runs.learnt(bare, found(None, is_new=False), T0) == bare


def test_an_old_end_does_not_end_a_run_that_is_shown_open() -> None:
    retried = shown("RUNNING")

    assert runs.learnt(retried, found("FAILED", is_new=False), T0) == retried


def test_a_failed_run_that_goes_on_was_retried() -> None:
    run = runs.learnt(shown("FAILED"), found(None), T0)

    assert (runs.status_of(run), run.version, run.final) == ("RUNNING", None, False)


def test_a_failed_run_that_is_read_for_the_first_time_was_not() -> None:
    assert runs.status_of(runs.learnt(shown("FAILED"), found(None, is_first=True), T0)) == "FAILED"


def test_a_run_that_failed_again_unseen_begins_its_schedule_again() -> None:
    failed, now = shown("FAILED", now=T0 + 60 * MINUTE), T0 + 60 * MINUTE

    again = runs.learnt(failed, found("FAILED", newest=now - MINUTE), now)

    assert (failed.version[-1], again.version[-1]) == (3, 1)


def test_what_is_over_stays_over_whatever_comes_late() -> None:
    completed = shown("COMPLETED")

    assert runs.learnt(completed, found(None), T0 + MINUTE) == completed


def test_a_run_lingers_from_its_newest_event_on() -> None:
    late, future = T0 + 2 * MINUTE, T0 + 99 * MINUTE

    assert runs.learnt(shown("RUNNING"), found(newest=late), late).changed == late
    assert runs.learnt(shown("RUNNING"), found(newest=T0), late).changed == T0 + MINUTE
    assert runs.learnt(shown("RUNNING"), found(newest=future), late).changed == late


def test_the_newest_of_a_page_in_no_order_is_the_one_with_the_latest_time() -> None:
    end = End()
    for each in (event("WORKFLOW_COMPLETED", 5), event("STEP_COMPLETED", 5), event("X", 3)):
        end.see(each)

    assert (end.newest, end.ended) == (T0 + timedelta(seconds=5), "COMPLETED")
