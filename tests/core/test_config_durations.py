from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levada.config import durations


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("10s", timedelta(seconds=10)),
        ("1.5s", timedelta(seconds=1.5)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("0s", timedelta(0)),
    ],
)
def test_reads_every_unit(text: str, duration: timedelta) -> None:
    assert durations.parse(text) == duration


@pytest.mark.parametrize(
    "text",
    ["", "10", "s", "10 s", "-1s", "1w", "1S", "1h30m", "1s\n", ".5s", "1.s", "٣s", "1e3s"],
)
def test_refuses_what_is_no_duration(text: str) -> None:
    assert durations.parse(text) is None


@pytest.mark.parametrize("text", ["999999999m", "999999h", "99999d"])
def test_the_longest_durations_can_be_taken_off_a_date(text: str) -> None:
    from datetime import UTC, datetime

    longest = durations.parse(text)

    assert longest is not None
    assert datetime(2026, 1, 1, tzinfo=UTC) - longest < datetime(2000, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["9999999999s", "100000d", "1000000h"])
def test_refuses_durations_longer_than_that(text: str) -> None:
    assert durations.parse(text) is None


@given(st.integers(0, 10**12))
def test_reads_back_what_it_writes(microseconds: int) -> None:
    duration = timedelta(microseconds=microseconds)

    assert durations.parse(durations.render(duration)) == duration


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    assert durations.parse(text) is None or text[-1] in "smhd"
