from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from core.doubles import event
from levada import Event, Origin, StateError
from levada.journal.rows import Row, event_of, ranges, row_of

ORIGIN = Origin("kapso", "acme", "https://api.kapso.ai/executions/run-1")

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.datetimes(
    timezones=st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes)))
)
EVENTS = st.builds(
    Event,
    TEXT,
    type=TEXT,
    time=TIMES,
    partition=st.just("run-1"),
    raw=st.binary(),
    subject=st.none() | TEXT,
    kind=st.none() | TEXT,
)


def stored(kept: Event) -> Row:
    """Return the row of an event as a query gives it back."""
    return (1, *row_of(kept, 5, 0)[:-1])


@given(EVENTS)
def test_an_event_comes_back_as_it_went_in(kept: Event) -> None:
    expected = evolve(kept, origin=ORIGIN, seq=1)

    assert event_of(stored(kept), "run-1", ORIGIN) == expected


def test_a_time_of_another_zone_stays_the_same_moment() -> None:
    elsewhere = datetime(2026, 1, 2, 5, tzinfo=timezone(timedelta(hours=5)))

    found = event_of(stored(evolve(event(1), time=elsewhere)), "run-1", ORIGIN)

    assert found.time == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_damaged_row_is_named_and_not_delivered() -> None:
    *values, raw, crc = stored(event(1))
    damaged = (*values, raw[:-2] + b"8}", crc)

    with pytest.raises(StateError, match="event 1 in the journal is damaged"):
        event_of(damaged, "run-1", ORIGIN)


@pytest.mark.parametrize(
    ("numbers", "pairs"),
    [
        ([], []),
        ([4], [[4, 4]]),
        ([1, 2, 3], [[1, 3]]),
        ([1, 3, 4, 9], [[1, 1], [3, 4], [9, 9]]),
    ],
    ids=["none", "one", "a run", "gaps"],
)
def test_ranges_join_what_follows(numbers: list[int], pairs: list[list[int]]) -> None:
    assert ranges(numbers) == pairs


@given(st.sets(st.integers(1, 200)))
def test_ranges_hold_exactly_the_numbers(numbers: set[int]) -> None:
    pairs = ranges(sorted(numbers))

    assert [n for first, last in pairs for n in range(first, last + 1)] == sorted(numbers)


@given(st.sets(st.integers(1, 200)))
def test_ranges_are_as_few_as_can_be(numbers: set[int]) -> None:
    pairs = ranges(sorted(numbers))

    assert all(left[1] + 1 < right[0] for left, right in pairwise(pairs))
