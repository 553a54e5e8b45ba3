import time
from datetime import timedelta

import pytest

from levada.brake import Brake


@pytest.fixture(autouse=True)
def longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every back-off as long as it may be: 0.5 s, 1 s, 2 s and so on."""
    monkeypatch.setattr("random.Random.uniform", lambda _self, _low, high: high)


def left_s(brake: Brake) -> float:
    return brake.until - time.monotonic()


def test_a_failure_holds_the_sink_back_a_moment() -> None:
    brake = Brake(lanes=8)

    brake.failed(hold=True)

    assert brake.held()
    assert left_s(brake) <= 0.5


def test_lanes_that_fail_side_by_side_are_one_round() -> None:
    brake = Brake(lanes=8)

    for _ in range(8):
        brake.failed(hold=True)

    assert left_s(brake) <= 0.5


def test_each_round_waits_longer() -> None:
    brake = Brake(lanes=1)
    brake.failed(hold=True)

    brake.until = 0.0  # as if the wait were over
    brake.failed(hold=True)

    assert 0.5 < left_s(brake) <= 1.0


def test_failures_of_single_deliveries_hold_it_back_only_when_there_are_many() -> None:
    brake = Brake(lanes=2)

    brake.failed(hold=False)
    brake.failed(hold=False)
    assert not brake.held()
    assert brake.lanes == 2

    brake.failed(hold=False)
    assert brake.held()
    assert brake.lanes == 1


def test_a_success_makes_up_for_them_all() -> None:
    brake = Brake(lanes=1)
    brake.failed(hold=True)

    brake.release()

    assert not brake.held()


def test_what_the_other_side_asked_for_outlasts_a_success() -> None:
    brake = Brake(lanes=4)
    brake.ask(timedelta(minutes=1))

    brake.release()

    assert left_s(brake) > 59
